"""The buttons on `gate`: one opens the report, that of the verdict, whatever the task has handed on."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time.xcom import XCom
from support.judged import gate_verdict

from sniffer.core.gate_records import Check
from sniffer.core.json_records import json_values
from sniffer_airflow.training.report_links import REPORT_LINKS

ACCEPTED = gate_verdict()
WARNED = replace(ACCEPTED, checks=(*ACCEPTED.checks, Check("laxer_limits", True, "laxer limits", warning=True)))
OVERRIDDEN = replace(WARNED, overridden_by="ana", override_reason="the only one")


def shown(result: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The buttons that have an address, which Airflow shows."""
    monkeypatch.setattr(XCom, "get_value", lambda **_: result)
    links = {str(link.name): link.get_link(None, ti_key=SimpleNamespace()) for link in REPORT_LINKS}
    assert len(links) == len({link.xcom_key for link in REPORT_LINKS}) == 4
    return {name: address for name, address in links.items() if address}


@pytest.mark.parametrize(
    ("verdict", "name"),
    [
        (ACCEPTED, "Report: accepted"),
        (WARNED, "Report: accepted, with warnings"),
        (OVERRIDDEN, "Report: rejected by the gate, accepted by a person"),
        (gate_verdict(blessed=False), "Report: rejected"),
        (replace(WARNED, blessed=False), "Report: rejected"),
    ],
)
def test_the_button_tells_the_verdict(verdict: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    [(button, address)] = shown(json_values(verdict), monkeypatch).items()
    assert button == name
    assert address.endswith("/sniffer/reports/3/")


@pytest.mark.parametrize(
    "result",
    [
        None,
        {},
        [3],
        "3",
        {"blessed": True, "version": 3},
        json_values(replace(ACCEPTED, version=None)),
        {**json_values(ACCEPTED), "version": "<b>"},
        {**json_values(ACCEPTED), "blessed": 1},
        {**json_values(ACCEPTED), "checks": "none"},
    ],
)
def test_what_is_no_verdict_gets_no_button(result: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(result, monkeypatch) == {}
