"""Which part of a bucket each type of run scans."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from sniffer.core.errors import SettingsError
from sniffer_airflow.scan.window import RunDates, Window, day_of, fill_in_day, is_dated, window_of

DAY = datetime(2026, 11, 5, tzinfo=UTC)
NEXT = DAY + timedelta(days=1)
NOW = datetime(2026, 11, 22, 13, 30, tzinfo=UTC)
OTHER = datetime(2020, 1, 1, tzinfo=UTC)

SCHEDULED = RunDates("scheduled", run_after=NEXT, logical_date=DAY, interval_start=DAY, interval_end=NEXT)
BACKFILL = RunDates("backfill", run_after=NOW, logical_date=DAY, interval_start=DAY, interval_end=NEXT)
# The form fills in the logical date, and Airflow infers an interval that nobody asked for: the last whole day.
BY_FORM = RunDates("manual", NOW, NOW, datetime(2026, 11, 21, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC))
BY_FORM_FOR_A_DAY = RunDates("manual", NOW, DAY, DAY - timedelta(days=1), DAY)
BY_COMMAND = RunDates("manual", run_after=NOW)
BY_ANOTHER_DAG = RunDates("operator_triggered", run_after=NOW)
LATE_IN_SYDNEY = RunDates("manual", datetime(2026, 11, 23, 0, 30, tzinfo=timezone(timedelta(hours=11))))


@pytest.mark.parametrize(
    ("dates", "day"),
    [
        (SCHEDULED, date(2026, 11, 5)),
        (BACKFILL, date(2026, 11, 5)),
        (BY_FORM, date(2026, 11, 22)),
        (BY_FORM_FOR_A_DAY, date(2026, 11, 5)),
        (BY_COMMAND, date(2026, 11, 22)),
        (BY_ANOTHER_DAG, date(2026, 11, 22)),
        (LATE_IN_SYDNEY, date(2026, 11, 22)),
    ],
)
def test_the_day_of_a_run(dates: RunDates, day: date) -> None:
    assert day_of(dates) == day


@pytest.mark.parametrize(
    ("dates", "since", "until", "dated", "window"),
    [
        (SCHEDULED, None, None, False, Window(DAY, NEXT)),
        (BACKFILL, None, None, False, Window(DAY, NEXT)),
        (SCHEDULED, None, None, True, Window()),
        (BACKFILL, None, None, True, Window()),
        (BACKFILL, OTHER, None, False, Window(OTHER, None)),
        (BACKFILL, None, OTHER, True, Window(None, OTHER)),
        (BY_FORM, None, None, False, Window()),
        (BY_FORM, OTHER, DAY, False, Window(OTHER, DAY)),
        (BY_FORM_FOR_A_DAY, None, None, False, Window()),
        (BY_COMMAND, None, None, False, Window()),
        (BY_COMMAND, OTHER, None, True, Window(OTHER, None)),
        (BY_ANOTHER_DAG, None, None, False, Window()),
    ],
)
def test_the_window_of_a_run(
    dates: RunDates, since: datetime | None, until: datetime | None, dated: bool, window: Window
) -> None:
    assert window_of(dates, since, until, dated_prefix=dated) == window


def test_the_windows_of_consecutive_nights_leave_no_gap_and_no_overlap() -> None:
    nights = [DAY + timedelta(days=n) for n in range(40)]
    runs = [RunDates("scheduled", n, n, n, n + timedelta(days=1)) for n in nights]
    windows = [window_of(run, None, None, dated_prefix=False) for run in runs]
    assert all(a.until == b.since for a, b in itertools.pairwise(windows))


@pytest.mark.parametrize("end", [DAY, None])
def test_a_schedule_without_intervals_is_refused_rather_than_scanning_nothing(end: datetime | None) -> None:
    dates = RunDates("scheduled", run_after=DAY, logical_date=DAY, interval_start=DAY, interval_end=end)
    with pytest.raises(SettingsError, match="must be NightsAndBackfills"):
        window_of(dates, None, None, dated_prefix=False)


@pytest.mark.parametrize(("since", "until"), [(NEXT, DAY), (DAY, DAY)])
def test_a_window_that_holds_nothing_is_refused(since: datetime, until: datetime) -> None:
    with pytest.raises(SettingsError, match="since .* must be earlier than until"):
        window_of(BY_FORM, since, until, dated_prefix=False)


@pytest.mark.parametrize(
    ("prefix", "filled"),
    [
        ("", ""),
        ("uploads/", "uploads/"),
        ("uploads/{{ ds }}/", "uploads/2026-11-05/"),
        ("uploads/{{ds_nodash}}", "uploads/20261105"),
        ("y={{ year }}/m={{ month }}/d={{ day }}/", "y=2026/m=11/d=05/"),
        ("{single} 100%/", "{single} 100%/"),
    ],
)
def test_the_day_is_filled_in(prefix: str, filled: str) -> None:
    assert fill_in_day(prefix, date(2026, 11, 5)) == filled
    assert is_dated(prefix) == (prefix != filled)


@pytest.mark.parametrize(
    "prefix",
    ["{{ ts }}", "{{ conn.mysql_default.password }}", "{{ ds }", "{{ ds | upper }}", "{% if ds %}", "{{ ds }}/{{ }}"],
)
def test_anything_else_that_looks_like_a_template_is_refused(prefix: str) -> None:
    with pytest.raises(SettingsError, match=r"unknown placeholder; known are \{\{ ds \}\}"):
        fill_in_day(prefix, date(2026, 11, 5))


def test_the_dates_are_read_from_airflow_s_dag_run() -> None:
    run_type: Any = SimpleNamespace(value="backfill")
    dag_run = SimpleNamespace(
        run_type=run_type, run_after=NOW, logical_date=DAY, data_interval_start=DAY, data_interval_end=NEXT
    )
    assert RunDates.of(dag_run) == BACKFILL
