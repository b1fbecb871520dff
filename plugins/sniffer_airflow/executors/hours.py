"""Hours of the day in which a task may work, such as those of the night: outside of them it gives its place back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from airflow.sdk.exceptions import AirflowRescheduleException

from sniffer.core.flags import render_flags

_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_SHORTEST = timedelta(minutes=1)
"""With less time left, nothing begins any more."""


@dataclass(frozen=True, slots=True)
class WorkingHours:
    """From `opens` until just before `closes`, each day, by a time zone's clocks; over midnight if it closes first.

    Where clocks are put forward or back, a night is an hour shorter or longer.
    """

    opens: time
    closes: time
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `22:00-06:00 Europe/Berlin`; ValueError says what is wrong."""
        hours, _, zone = text.partition(" ")
        opens, _, closes = hours.partition("-")
        found = cls(time_of_day(opens), time_of_day(closes), time_zone(zone))
        if found.opens == found.closes:
            raise ValueError(f"{opens} to {closes} are no hours: leave both empty for the whole day")
        return found

    def __str__(self) -> str:
        return f"{self.opens:%H:%M}-{self.closes:%H:%M} {self.zone.key}"

    @property
    def length(self) -> timedelta:
        """How long they are, on a day on which no clock is put forward or back."""
        minutes = (self.closes.hour - self.opens.hour) * 60 + self.closes.minute - self.opens.minute
        return timedelta(minutes=minutes % (24 * 60))

    def window(self, now: datetime) -> tuple[datetime, datetime]:
        """Both ends (UTC) of the hours that `now` is in, or of the next ones."""
        today = now.astimezone(self.zone).date()
        for days in (-1, 0, 1, 2):
            day = today + timedelta(days=days)
            last = day + timedelta(days=1) if self.closes < self.opens else day
            opens = datetime.combine(day, self.opens, self.zone).astimezone(UTC)
            closes = datetime.combine(last, self.closes, self.zone).astimezone(UTC)
            if closes - now > _SHORTEST and opens < closes:
                return opens, closes
        raise ValueError(f"{self} are never")


def time_of_day(text: str) -> time:
    """`22:00`; ValueError for anything else."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no time from 00:00 to 23:59")
    return time(int(found[1]), int(found[2]))


def time_zone(name: str) -> ZoneInfo:
    """The IANA time zone of that name; ValueError when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone such as UTC or Europe/Berlin") from None


def wait_for_hours(hours: str, log: Any, now: datetime | None = None) -> list[str]:
    """Give the place back until the hours begin; within them, the words that end the program with them.

    AirflowRescheduleException, which is no retry. No hours are the whole day.
    """
    if not hours:
        return []
    now = now or datetime.now(UTC)
    opens, closes = WorkingHours.parse(hours).window(now)
    if now < opens:
        log.info("it is outside of %s: this task is started again at %s", hours, opens.isoformat())
        raise AirflowRescheduleException(opens)  # type: ignore[no-untyped-call]
    log.info("within %s: it ends, at a key, at %s", hours, closes.isoformat())
    return render_flags({"end_at": closes.isoformat()})
