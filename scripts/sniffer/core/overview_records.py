"""Scans and the reviewers' queue as a summary for people sees them: counts alone, and no image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from sniffer.core.records import Outcome


@dataclass(frozen=True, slots=True)
class ScanSummary:
    """A scan in one piece, or all shards of one together. `night` is the day (UTC) on which it was started.

    `counts` are of its certificate, by outcome, and add up to `listed`; 0 before there is one. `stored` are what it has
    stored so far, in all its runs, but for what was discarded, and `flagged` those of them at or above its threshold.
    """

    number: int
    scan_id: str
    source: str
    """The same for all scans of one bucket and prefix as it was entered, hex."""
    bucket: str
    prefix: str
    dag_run: str
    """`DAG/run` in Airflow; empty: started by hand."""
    model_version: int
    state: str
    is_alive: bool
    """Whether a process works on it, as far as one can tell."""
    started_at: datetime
    finished_at: datetime | None
    listed: int
    counts: Mapping[Outcome, int]
    stored: Mapping[Outcome, int] = field(default_factory=dict)
    flagged: int = 0

    @property
    def night(self) -> date:
        """The day that its figures count for."""
        return self.started_at.date()

    @property
    def scored(self) -> int:
        """Images to which it has given a score."""
        return self.stored.get(Outcome.PREDICTED, 0) + self.stored.get(Outcome.REUSED, 0)


@dataclass(frozen=True, slots=True)
class QueueSummary:
    """What waits for reviewers as of the last refresh of the queue. `oldest`: since when, of what waits for them.

    `is_all`: the queue was counted to its end.
    """

    waiting: int
    for_leads: int
    oldest: datetime | None
    is_all: bool
