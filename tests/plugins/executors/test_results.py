"""What tasks hand on, as the pages read it: whatever an XCom holds, nothing breaks."""

from __future__ import annotations

from typing import Any

import pytest

from sniffer_airflow.executors.results import model_version_in

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
