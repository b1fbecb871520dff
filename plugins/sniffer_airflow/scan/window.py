"""Which part of a bucket a DAG run scans: from the run's type and dates, and the form's fields, to prefix and window.

| run                 | `{{ ds }}` in the prefix  | window on LastModified, unless the form gives one |
|---------------------|---------------------------|---------------------------------------------------|
| scheduled, backfill | day of the data interval  | the data interval; none with a dated prefix       |
| manual              | day of the logical date,  | none                                              |
|                     | or else of the trigger    |                                                   |

All days are UTC. Pure functions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from sniffer.core.errors import SettingsError
from sniffer_airflow.names import type_of_run

SCHEDULED, BACKFILL = "scheduled", "backfill"
PERIODIC = frozenset({SCHEDULED, BACKFILL})

_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_LEFT_OVER = re.compile(r"\{\{|\}\}|\{%|%\}")


@dataclass(frozen=True)
class RunDates:
    """What Airflow says of a DAG run's place in time; datetimes are aware."""

    run_type: str
    run_after: datetime
    logical_date: datetime | None = None
    interval_start: datetime | None = None
    interval_end: datetime | None = None

    @classmethod
    def of(cls, dag_run: Any) -> RunDates:
        """Read them from a task's `dag_run`."""
        return cls(
            run_type=type_of_run(dag_run),
            run_after=dag_run.run_after,
            logical_date=dag_run.logical_date,
            interval_start=dag_run.data_interval_start,
            interval_end=dag_run.data_interval_end,
        )

    @property
    def is_periodic(self) -> bool:
        """Whether the run stands for one interval of the schedule (nightly, backfill), not for a person's wish."""
        return self.run_type in PERIODIC

    @property
    def is_nightly(self) -> bool:
        """Whether the schedule made the run."""
        return self.run_type == SCHEDULED

    @property
    def is_backfill(self) -> bool:
        """Whether the run is a day of a backfill."""
        return self.run_type == BACKFILL


@dataclass(frozen=True)
class Window:
    """Half-open, since <= LastModified < until; None leaves that side open."""

    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise SettingsError(
                f"since ({self.since.isoformat()}) must be earlier than until ({self.until.isoformat()})"
            )


def day_of(dates: RunDates) -> date:
    """The day that a run's dated prefix means, for every type of run; stable over retries and clears."""
    if dates.is_periodic:
        return _interval(dates)[0].astimezone(UTC).date()
    return (dates.logical_date or dates.run_after).astimezone(UTC).date()


def is_day_over(dates: RunDates) -> bool:
    """Whether a run of the schedule, or of a backfill, comes after the day that it is for.

    Of a schedule that runs several times a day, the first run after midnight alone: its interval began on that day.
    """
    return not dates.is_periodic or _interval(dates)[1].astimezone(UTC).date() > day_of(dates)


def is_dated(prefix: str) -> bool:
    """Whether the prefix has a placeholder for the run's day."""
    return _PLACEHOLDER.search(prefix) is not None


def fill_in_day(prefix: str, day: date) -> str:
    """The prefix with `{{ ds }}`, `{{ ds_nodash }}`, `{{ year }}`, `{{ month }}` and `{{ day }}` replaced.

    Deliberately not Jinja: whoever may trigger a run types this text, and must not reach Connections through it.
    """
    known = {
        "ds": f"{day:%Y-%m-%d}",
        "ds_nodash": f"{day:%Y%m%d}",
        "year": f"{day:%Y}",
        "month": f"{day:%m}",
        "day": f"{day:%d}",
    }
    filled = _PLACEHOLDER.sub(lambda match: known.get(match[1], match[0]), prefix)
    if _LEFT_OVER.search(filled):
        allowed = ", ".join(f"{{{{ {name} }}}}" for name in known)
        raise SettingsError(f"the prefix {prefix!r} has an unknown placeholder; known are {allowed}")
    return filled


def has_only_known_placeholders(prefix: str) -> bool:
    """Whether `fill_in_day` takes the prefix."""
    try:
        fill_in_day(prefix, date.min)
    except SettingsError:
        return False
    return True


def window_of(dates: RunDates, since: datetime | None, until: datetime | None, *, dated_prefix: bool) -> Window:
    """The window on LastModified: the form's fields if any is given, else by the table above."""
    if since is not None or until is not None:
        return Window(since, until)
    if dates.is_periodic and not dated_prefix:
        return Window(*_interval(dates))
    return Window()


def _interval(dates: RunDates) -> tuple[datetime, datetime]:
    start, end = dates.interval_start, dates.interval_end
    if start is None or end is None or start >= end:
        # What a plain cron string gives: its runs would each scan nothing, and say that all is well.
        raise SettingsError(
            f"this {dates.run_type} run has no data interval: the DAG's schedule must be NightsAndBackfills()"
        )
    return start.astimezone(UTC), end.astimezone(UTC)
