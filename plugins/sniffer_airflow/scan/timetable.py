"""The schedule of scans: every night for the day that has ended, and each backfill in runs of its own.

Airflow has one run for each logical date of a DAG, whatever the run was asked to do: a backfill of another bucket would
leave out every day that has a night, or take the night's run over. So the logical dates of a backfill are its days at
the time of day at which it was made, which no night and no other backfill has. Their data intervals are the whole days.

A DAG that is first let run begins with the night to come, where Airflow's own schedule would run the last one at once.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow.utils.types import DagRunType
from pendulum import DateTime, instance

from sniffer_airflow.forms.fields import Json

EVERY_NIGHT = "0 0 * * *"
_DAY = timedelta(days=1)
_LATE = timedelta(hours=1)
"""So late a first night is still run: the scheduler needs time for it, or was away for a moment."""
_ZONE_STEP_S = 15 * 60
"""The offsets of all time zones are multiples of it."""
_MOST_WEST = timedelta(hours=-10)
"""The last offset to be taken for one west of Greenwich: east of it +13:00 and +14:00 are midnight a day later."""


class BackfillRunInfo(DagRunInfo):
    """One day of a backfill; `made_at` is the time of day that tells it from all other runs for the day."""

    made_at: timedelta

    @classmethod
    def of(cls, day: date, made_at: timedelta) -> BackfillRunInfo:
        """The run for that day, UTC."""
        start = instance(datetime.combine(day, time(), UTC))
        end = start + _DAY
        # Airflow names a backfill's run by run_after, so that has to differ, too. It is never in the future.
        info = cls(run_after=end + made_at, data_interval=DataInterval(start, end))
        info.made_at = made_at
        return info

    @property
    def day(self) -> date:
        """The day that the run is for."""
        start: DateTime = self.data_interval.start  # type: ignore[union-attr]  # it always has one
        return start.date()

    @property
    def logical_date(self) -> DateTime:
        """The day at the time of day at which the backfill was made."""
        start: DateTime = self.data_interval.start  # type: ignore[union-attr]  # it always has one
        return start + self.made_at


class NightsAndBackfills(CronDataIntervalTimetable):
    """A CronDataIntervalTimetable in UTC, by default of whole days, with runs of its own for each backfill."""

    def __init__(self, cron: str = EVERY_NIGHT) -> None:
        super().__init__(cron, "UTC")

    @classmethod
    def deserialize(cls, data: dict[str, Json]) -> NightsAndBackfills:
        """Read back what serialize() gave."""
        return cls(str(data["expression"]))

    def due(self, after: datetime, until: datetime) -> list[DagRunInfo]:
        """The runs that the schedule makes after one moment and up to another, oldest first."""
        runs: list[DagRunInfo] = []
        end = self._get_next(instance(after))
        while end <= until:
            runs.append(DagRunInfo.interval(self._get_prev(end), end))
            end = self._get_next(end)
        return runs

    def next_after(self, moment: datetime) -> datetime:
        """When the schedule makes its first run after that moment."""
        return self._get_next(instance(moment))

    def run_id(self, run: DagRunInfo) -> str:
        """What Airflow names that run."""
        return self.generate_run_id(
            run_type=DagRunType.SCHEDULED, run_after=run.run_after, data_interval=run.data_interval
        )

    def next_dagrun_info_v2(
        self, *, last_dagrun_info: DagRunInfo | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """The next night; the next day of a backfill, which asks with a range of its own and as if to catch up."""
        if isinstance(last_dagrun_info, BackfillRunInfo):
            following = last_dagrun_info.day + _DAY
            return _unless_past(following, restriction, last_dagrun_info.made_at)
        if last_dagrun_info is None and restriction.catchup and restriction.earliest and restriction.latest:
            return _unless_past(day_meant(restriction.earliest), restriction, _time_of_day(datetime.now(UTC)))
        night = super().next_dagrun_info_v2(last_dagrun_info=last_dagrun_info, restriction=restriction)
        is_first = last_dagrun_info is None and not restriction.catchup
        if is_first and night is not None and night.run_after < datetime.now(UTC) - _LATE:
            return DagRunInfo.interval(night.run_after, self._get_next(night.run_after))
        return night


def day_meant(moment: datetime) -> date:
    """The date that a person chose as the end of a range, of which Airflow tells us a moment.

    A date without time is a midnight: the UI sends that of the zone it shows times in, as UTC (2026-11-01 of Berlin is
    2026-10-31T23:00Z); the command line sends that of Airflow's default zone. A moment with another time of day is
    on its own date.
    """
    midnight = time()
    if moment.time() == midnight:
        return moment.date()
    moment = moment.astimezone(UTC)
    since_midnight = _time_of_day(moment)
    if since_midnight.total_seconds() % _ZONE_STEP_S == 0 and since_midnight > -_MOST_WEST:
        return moment.date() + _DAY
    return moment.date()


def _unless_past(day: date, restriction: TimeRestriction, made_at: timedelta) -> BackfillRunInfo | None:
    if restriction.latest is not None and day > day_meant(restriction.latest):
        return None
    return BackfillRunInfo.of(day, made_at)


def _time_of_day(moment: datetime) -> timedelta:
    return timedelta(hours=moment.hour, minutes=moment.minute, seconds=moment.second, microseconds=moment.microsecond)
