"""How many images of a scan are flagged, and what became of a scan that was held for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class FlagCounts:
    """Of a scan: how many images have a score by it, and how many of them are at or above the threshold."""

    scored: int
    flagged: int

    @property
    def share(self) -> float:
        """The flagged ones' share; 0 of nothing."""
        return self.flagged / self.scored if self.scored else 0.0


class HoldDecision(StrEnum):
    """What happened to a scan's results that were held back, as `hold_decisions` keeps it."""

    HELD = "held"
    RELEASED = "released"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class Decided:
    """A person's decision on a held scan. `results` are the scores that a discard has deleted.

    `is_finished`: whether every listed image had its outcome; otherwise the scan is to be run again for the rest.
    """

    scan_id: str
    decision: HoldDecision
    decided_by: str
    reason: str
    held_for: str
    is_finished: bool
    results: int = 0
