"""When scan_bucket runs by itself: every night, and for the first time in the night after it was let run."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from airflow.timetables import interval
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from pendulum import DateTime, instance

from sniffer_airflow.scan import timetable
from sniffer_airflow.scan.timetable import NightsAndBackfills

DAY = timedelta(days=1)
MIDNIGHT = instance(datetime(2026, 11, 26, tzinfo=UTC))
NIGHTLY = TimeRestriction(instance(datetime(2006, 1, 1, tzinfo=UTC)), None, catchup=False)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[DateTime]:
    """The time, in its only element."""
    found = [MIDNIGHT]

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return found[0]

    monkeypatch.setattr(interval, "utcnow", lambda: found[0])
    monkeypatch.setattr(timetable, "datetime", Clock)
    return found


def next_night(last: DateTime | None = None) -> DateTime:
    """When the next run starts, after one that started then."""
    before = None if last is None else DagRunInfo.interval(last - DAY, last)
    found = NightsAndBackfills().next_dagrun_info_v2(last_dagrun_info=before, restriction=NIGHTLY)
    assert found is not None and found.data_interval == DataInterval(found.run_after - DAY, found.run_after)
    return found.run_after


@pytest.mark.parametrize("hours", [1.1, 7, 23.9])
def test_the_first_run_of_all_is_of_the_night_to_come(now: list[DateTime], hours: float) -> None:
    now[0] = MIDNIGHT + timedelta(hours=hours)
    assert next_night() == MIDNIGHT + DAY


def test_a_first_night_that_has_come_is_not_put_off_for_ever(now: list[DateTime]) -> None:
    now[0] = MIDNIGHT + timedelta(seconds=1)
    assert next_night() == MIDNIGHT
    now[0] = MIDNIGHT + timedelta(minutes=50)
    assert next_night() == MIDNIGHT


def test_later_nights_are_airflows_own(now: list[DateTime]) -> None:
    now[0] = MIDNIGHT + timedelta(hours=7)
    assert next_night(last=MIDNIGHT - DAY) == MIDNIGHT
    assert next_night(last=MIDNIGHT) == MIDNIGHT + DAY
    # Nobody catches up on a week in which it was paused, but for its last night.
    assert next_night(last=MIDNIGHT - 7 * DAY) == MIDNIGHT


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("first", "last", "days"),
    [
        (date(2026, 10, 24), date(2026, 10, 26), 3),  # an hour more
        (date(2026, 3, 28), date(2026, 3, 30), 3),  # an hour less
        (date(2026, 10, 25), date(2026, 10, 25), 1),
        (date(2026, 10, 26), date(2026, 10, 24), 0),
    ],
)
@pytest.mark.parametrize("zone", [BERLIN, ZoneInfo("America/New_York"), ZoneInfo("Australia/Sydney"), UTC])
@pytest.mark.parametrize("in_utc", [True, False])
def test_a_backfill_has_the_days_that_were_typed_also_where_the_clocks_change(
    zone: tzinfo, in_utc: bool, first: date, last: date, days: int
) -> None:
    typed = [datetime.combine(day, time(), zone) for day in (first, last)]
    ends = [instance(moment.astimezone(UTC) if in_utc else moment) for moment in typed]
    schedule, restriction = NightsAndBackfills(), TimeRestriction(ends[0], ends[1], catchup=True)
    found: list[date] = []
    info = schedule.next_dagrun_info_v2(last_dagrun_info=None, restriction=restriction)
    while info is not None:
        assert info.data_interval is not None
        assert info.data_interval.end - info.data_interval.start == DAY
        found.append(info.data_interval.start.date())
        info = schedule.next_dagrun_info_v2(last_dagrun_info=info, restriction=restriction)
    assert found == [first + n * DAY for n in range(days)]


def test_a_source_of_its_own_hour_is_due_then_and_first_in_the_night_to_come(now: list[DateTime]) -> None:
    at_four = NightsAndBackfills.deserialize(NightsAndBackfills("0 4 * * *").serialize())
    due = at_four.due(MIDNIGHT - DAY, MIDNIGHT + DAY)
    assert [run.run_after for run in due] == [MIDNIGHT - timedelta(hours=20), MIDNIGHT + timedelta(hours=4)]
    assert at_four.run_id(due[1]) == "scheduled__2026-11-26T04:00:00+00:00"
    now[0] = MIDNIGHT + timedelta(hours=7)
    first = at_four.next_dagrun_info_v2(last_dagrun_info=None, restriction=NIGHTLY)
    assert first is not None and first.run_after == MIDNIGHT + timedelta(hours=28)


def test_a_weekly_source_begins_with_the_week_to_come(now: list[DateTime]) -> None:
    now[0] = MIDNIGHT + timedelta(hours=7)  # a Thursday
    first = NightsAndBackfills("0 4 * * 1").next_dagrun_info_v2(last_dagrun_info=None, restriction=NIGHTLY)
    assert first is not None and first.run_after == instance(datetime(2026, 11, 30, 4, tzinfo=UTC))
    assert first.data_interval == DataInterval(first.run_after - 7 * DAY, first.run_after)
