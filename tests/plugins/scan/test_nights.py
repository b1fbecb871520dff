"""Where the night of a source stands, by what Airflow and MySQL say of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sniffer.core.recorded_scan import RecordedScan
from sniffer_airflow.scan.nights import NightRun, SourceNight, all_in_words, in_order, night_of
from sniffer_airflow.scan.sources import parse_table
from sniffer_airflow.scan.summary import Expected, due_runs, expected_of

DUE = datetime(2026, 11, 26, tzinfo=UTC)
GOOD = {"is_certified": True, "listed": 1200, "flagged_new": 3}
BAD = {"is_certified": True, "listed": 3, "problems": ("3 of 3 images failed",)}


def recorded(state: str, certificate: Any = None, *shard_states: str) -> RecordedScan:
    return RecordedScan("scan_a.r.b-1", state, shard_states=frozenset(shard_states), **(certificate or {}))


def judged(*runs: NightRun, hours: float = 5, is_paused: bool = False) -> SourceNight:
    return night_of(
        "a",
        "scan_a",
        runs,
        now=DUE + timedelta(hours=hours),
        late_after=timedelta(hours=4),
        is_paused=is_paused,
        urls={"r": "http://airflow/r"},
    )


@pytest.mark.parametrize(
    ("state", "scans", "hours", "expected", "detail"),
    [
        (None, (), 5, "missing", "Airflow made no run for 2026-11-26T00:00:00+00:00"),
        (None, (), 0.2, "running", "about to start"),
        ("queued", (), 1, "running", ""),
        ("queued", (), 5, "late", "still queued, due by 2026-11-26T04:00:00+00:00"),
        ("running", (recorded("running"),), 3, "running", ""),
        ("running", (recorded("running"),), 5, "late", "still running"),
        ("success", (recorded("complete", GOOD),), 5, "holds", ""),
        ("failed", (recorded("incomplete", BAD),), 5, "failed", "3 of 3 images failed"),
        ("failed", (), 5, "failed", "the log of its failed task says why"),
        ("failed", (recorded("complete", GOOD),), 5, "failed", "its certificate holds by now: clear the failed task"),
        ("success", (), 5, "failed", "MySQL has no scan of it"),
        ("success", (recorded("incomplete", BAD),), 5, "failed", "does not hold; 3 of 3 images failed"),
        ("success", (recorded("complete", GOOD), recorded("running")), 5, "failed", "does not hold"),
        ("success", (recorded("held", GOOD),), 5, "held", "see its run"),
        ("running", (recorded("held", GOOD),), 5, "held", ""),
        ("failed", (recorded("quarantined"),), 5, "quarantined", "see its run"),
    ],
)
def test_one_run_is_judged_by_both(
    state: str | None, scans: tuple[RecordedScan, ...], hours: float, expected: str, detail: str
) -> None:
    night = judged(NightRun(DUE, "r", state, scans), hours=hours)
    assert night.state == expected
    assert detail in night.detail and bool(detail) == bool(night.detail)
    assert night.is_fine == (expected in ("holds", "running"))
    assert night.url == ("" if state is None else "http://airflow/r")


def test_shards_count_by_the_certificate_of_the_whole() -> None:
    night = judged(NightRun(DUE, "r", "success", (recorded("complete", GOOD, "complete"),)))
    assert (night.state, night.listed) == ("holds", 1200)
    why = {"problems": ("3 of 3 images failed",)}
    night = judged(NightRun(DUE, "r", "failed", (recorded("running", why, "complete", "incomplete"),)))
    assert (night.state, night.detail) == ("failed", "3 of 3 images failed")
    night = judged(NightRun(DUE, "r", "running", (recorded("running", None, "complete", "held"),)))
    assert night.state == "held"
    assert judged(NightRun(DUE, "r", "success", (recorded("running", None, "complete"),))).state == "failed"


def test_a_pause_is_named() -> None:
    night = judged(NightRun(DUE, "r", None), hours=0.1, is_paused=True)
    assert (night.state, night.detail.partition(":")[0]) == ("missing", "its DAG is paused")


def test_a_source_counts_by_the_worst_of_its_runs_and_the_worst_come_first() -> None:
    failed = NightRun(DUE - timedelta(days=1), "r", "failed", (recorded("incomplete", BAD),))
    holds = NightRun(DUE, "r", "success", (recorded("complete", GOOD),))
    assert judged(failed, holds).state == "failed"
    assert judged(holds).in_words() == "a: holds, 1,200 listed, 3 newly flagged http://airflow/r"
    assert judged().state == "not due"
    nights = [
        SourceNight(name, "", state) for name, state in zip("abcd", ("holds", "odd", "late", "failed"), strict=True)
    ]
    assert [night.source for night in in_order(nights)] == ["d", "b", "c", "a"]
    assert all_in_words(nights) == "b is odd; c is late; d is failed"
    assert all_in_words([judged(holds), judged()]) == ""


def test_all_that_a_schedule_runs_is_expected_and_what_is_wrong_is_told() -> None:
    sources = [{"name": "a", "bucket": "pics", "schedule": "0 4 * * *"}, {"name": "b"}, {"bucket": "pics"}]
    expected = expected_of(parse_table({"sources": sources}, "t", in_pods=False), "nightly")
    assert [(each.source, each.dag_id, bool(each.problem)) for each in expected] == [
        ("scan_bucket", "scan_bucket", False),
        ("a", "scan_a", False),
        ("b", "scan_b", True),
        ("a source without a usable name", "", True),
    ]


@pytest.mark.parametrize(
    ("schedule", "due"),
    [
        ("0 0 * * *", ["2026-11-26T00:00"]),
        ("0 5 * * *", ["2026-11-25T05:00", "2026-11-26T05:00"]),  # yesterday's may have been running at the last one
        ("0 0 * * 1", []),
    ],
)
def test_a_summary_looks_at_what_was_due_since_the_last_and_at_what_that_saw_running(
    schedule: str, due: list[str]
) -> None:
    found = due_runs(Expected("a", "scan_a", schedule), DUE + timedelta(hours=6))
    assert [f"{at:%Y-%m-%dT%H:%M}" for at in found.values()] == due
    assert [*found] == [f"scheduled__{each}:00+00:00" for each in due]
