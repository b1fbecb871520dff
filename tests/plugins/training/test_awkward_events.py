"""Events of Assets as anybody may create them in Airflow's UI: those with absurd values are named and left out."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from sniffer_airflow.asset_events import BlessedExtra, SavedmodelExtra, told

FAR, FIRST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)


def event(extra: object, at: datetime = FAR) -> Any:
    return SimpleNamespace(
        extra=extra, asset=SimpleNamespace(name="savedmodel"), timestamp=at, source_dag_id=None, source_task_id=None
    )


@pytest.mark.parametrize(
    "version", [True, False, 1.0, 1.5, float("nan"), float("inf"), -1, 0, -(10**30), "1", "", None, [1], {"a": 1}]
)
def test_a_version_that_is_none_is_left_out_and_named(version: object, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = told([event({"version": version}), event({"version": 7}, FIRST)], SavedmodelExtra)
    assert [one.extra.version for one in found] == [7]
    [said] = caplog.messages
    assert "an event of the Asset savedmodel, of 9999-12-31" in said and "\n" not in said


@pytest.mark.parametrize("extra", [None, [], "x", 5, True, {}, {"version": 1, "requested_by": "me"}])
def test_an_extra_that_is_no_record_is_left_out(extra: object, caplog: pytest.LogCaptureFixture) -> None:
    assert told([event(extra)], SavedmodelExtra) == [] and len(caplog.messages) == 1


@pytest.mark.parametrize("workdir", ["", " \n", 5, True, None, ["runs/1"]])
def test_a_workdir_that_is_none_is_left_out(workdir: object) -> None:
    assert told([event({"version": 1, "workdir": workdir})], BlessedExtra) == []


def test_the_date_of_an_event_decides_nothing() -> None:
    events = [event({"version": 1}, FAR), event({"version": 2}, FIRST)]
    assert [one.extra.version for one in told(events, SavedmodelExtra)] == [1, 2]
