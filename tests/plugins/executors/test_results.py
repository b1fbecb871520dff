"""What tasks hand on, as the pages and links read it: whatever an XCom holds, nothing breaks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time.xcom import XCom

from sniffer_airflow.executors.results import model_version_in
from sniffer_airflow.training.tasks import ReportLink

RESULTS = [
    ({"blessed": True, "version": 3}, 3),
    ({"version": None, "blessed": True}, None),
    ({"model_version": 7, "listed": 5}, 7),
    ({"model_version": "stable"}, None),
    ({"version": "<b>"}, None),
    ({"version": True}, None),
    ({"version": 3.5}, None),
    ({}, None),
    ([3], None),
    ("3", None),
    (None, None),
]


@pytest.mark.parametrize(("result", "version"), RESULTS)
def test_the_version_is_that_of_the_result_or_none(result: Any, version: int | None) -> None:
    assert model_version_in(result) == version


@pytest.mark.parametrize(("result", "version"), RESULTS)
def test_the_button_opens_the_report_or_is_empty(
    result: Any, version: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(XCom, "get_value", lambda **_: result)
    link = ReportLink().get_link(None, ti_key=SimpleNamespace())
    assert link.endswith(f"/sniffer/reports/{version}/") if version else link == ""
