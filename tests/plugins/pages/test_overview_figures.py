"""The figures of the summary page, without a database."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest

from sniffer.core.overview_records import ScanSummary
from sniffer.core.records import Outcome
from sniffer_airflow.pages.bars import draw_bars
from sniffer_airflow.pages.overview_figures import (
    NightFlags,
    coverage_of,
    covering,
    flags_by_night,
    forecast,
    sources_of,
    state_in_words,
)

TODAY = date(2026, 11, 27)


def scan(number: int, state: str = "complete", ago: int = 0, **changes: Any) -> ScanSummary:
    """One of 10 scored images, 1 of them flagged."""
    started = datetime(2026, 11, 27, 3, tzinfo=UTC) - timedelta(days=ago)
    values: dict[str, Any] = {
        "number": number,
        "scan_id": f"s{number}",
        "source": "a",
        "bucket": "bkt",
        "prefix": "",
        "dag_run": "scan_a/r",
        "model_version": 1,
        "state": state,
        "is_alive": False,
        "started_at": started,
        "finished_at": started,
        "listed": 10,
        "counts": dict.fromkeys(Outcome, 0) | {Outcome.PREDICTED: 10},
        "stored": {Outcome.PREDICTED: 9, Outcome.REUSED: 1, Outcome.FAILED: 3},
        "flagged": 1,
    }
    return ScanSummary(**values | changes)


@pytest.mark.parametrize(
    ("state", "is_alive", "word"),
    [
        ("complete", False, "holds"),
        ("incomplete", False, "broken"),
        ("held", False, "held"),
        ("running", True, "running"),
        ("running", False, "stopped"),
        ("of a newer release", False, "of a newer release"),
    ],
)
def test_the_words_for_a_state(state: str, is_alive: bool, word: str) -> None:
    assert state_in_words(scan(1, state, is_alive=is_alive)) == word


def test_each_night_is_there_and_what_is_held_is_not_flagged() -> None:
    scans = [scan(1), scan(2), scan(3, "held"), scan(4, ago=2), scan(5, ago=3)]
    assert flags_by_night(scans, TODAY, 3) == (
        NightFlags(date(2026, 11, 25), 10, 1, 0),
        NightFlags(date(2026, 11, 26), 0, 0, 0),
        NightFlags(TODAY, 20, 2, 1),
    )


def test_a_source_stands_where_its_newest_scan_does_and_the_worst_comes_first() -> None:
    scans = [
        scan(6, source="fine"),
        scan(5, source="new state", state="of a newer release"),
        scan(4, source="a", state="held"),
        scan(3, source="b", state="incomplete"),
        scan(2, source="a", ago=1),
        scan(1, source="a", ago=2),
    ]
    found = sources_of(scans, TODAY, 3)
    assert [(one.source, one.state) for one in found] == [
        ("new state", "of a newer release"),
        ("b", "broken"),
        ("a", "held"),
        ("fine", "holds"),
    ]
    assert [one.last_good for one in found] == [None, None, date(2026, 11, 26), TODAY]
    assert found[2].total == NightFlags(TODAY, 20, 2, 1)
    assert (found[2].dag_id, found[2].place) == ("scan_a", "s3://bkt/")


def test_coverage_is_of_the_newest_ended_scan_by_the_stable_version() -> None:
    counts = dict.fromkeys(Outcome, 0)
    listed = {Outcome.UNCHANGED: 60, Outcome.REUSED: 15, Outcome.INACCESSIBLE: 20, Outcome.FAILED: 5, Outcome.GONE: 40}
    scans = [
        scan(5, "running", listed=0),
        scan(4, model_version=2),
        scan(3, "incomplete", listed=140, counts=counts | listed),
        scan(2, ago=1),
        scan(1, source="b", listed=0),
    ]
    [one] = coverage_of(covering(scans, 1), {3: {"archived": 12, "kms": 8}})
    assert (one.scan.number, one.images, one.with_result, one.archived) == (3, 100, 75, 12)
    assert one.share == 0.75


@pytest.mark.parametrize(
    ("waiting", "inflow", "pace", "says"),
    [
        (0, 0, 0, "empty, and stays so"),
        (0, 30, 10, "grows by about 20 a day"),
        (500, 30, 10, "grows by about 20 a day"),
        (500, 30, 30.2, "does not get shorter"),
        (500, 30, 130, "empty in about 5 days"),
        (501, 0, 100, "empty in about 6 days"),
        (5, 0, 100, "empty in about 1 day"),
    ],
)
def test_a_forecast_of_the_backlog(waiting: int, inflow: float, pace: float, says: str) -> None:
    assert forecast(waiting, inflow, pace) == says


def test_a_forecast_by_a_part_of_the_backlog_says_so() -> None:
    assert forecast(100_000, 0, 100, is_all=False) == "empty in more than 1,000 days"
    assert forecast(0, 0, 0, is_all=False) == "does not get shorter"


def test_bars_are_as_high_as_their_counts_and_what_is_not_nothing_is_seen() -> None:
    picture = ElementTree.fromstring(draw_bars([0, 1, 500, 1000], 'the "most" & <least>'))
    assert picture.get("aria-label") == 'the "most" & <least>'
    assert [(bar.get("x"), bar.get("height")) for bar in picture] == [("11", "2"), ("21", "50"), ("31", "100")]
    assert list(ElementTree.fromstring(draw_bars([0, 0], "nothing"))) == []
