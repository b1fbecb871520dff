"""How many images of a scan are flagged, when it is held for that, and what became of it then."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sniffer.core.errors import SettingsError
from sniffer.core.model_records import NAME_CHARS, REASON_CHARS


@dataclass(frozen=True, slots=True)
class FlagCounts:
    """Of a scan: how many images have a score by it, and how many of them are at or above the threshold."""

    scored: int
    flagged: int

    @property
    def share(self) -> float:
        """The flagged ones' share; 0 of nothing."""
        return self.flagged / self.scored if self.scored else 0.0


@dataclass(frozen=True, slots=True)
class FloodRule:
    """When a scan is held: never, by bounds of the share that a person gave, or, without bounds, by the past."""

    is_on: bool = True
    low: float = 0.0
    high: float | None = None

    @property
    def has_bounds(self) -> bool:
        """Whether a person gave them."""
        return self.high is not None

    @classmethod
    def parse(cls, text: str) -> FloodRule:
        """From `auto`, `off` or LOW..HIGH (shares from 0 to 1); ValueError for anything else."""
        if text in ("auto", "off"):
            return cls(is_on=text == "auto")
        low, dots, high = text.partition("..")
        if not dots:
            raise ValueError(text)
        bounds = float(low), float(high)
        if not 0 <= bounds[0] < bounds[1] <= 1:
            raise ValueError(text)
        return cls(low=bounds[0], high=bounds[1])

    def __str__(self) -> str:
        if not self.is_on:
            return "off"
        return f"{self.low:g}..{self.high:g}" if self.has_bounds else "auto"


class HoldDecision(StrEnum):
    """What happened to a scan's results that were held back, as `hold_decisions` keeps it."""

    HELD = "held"
    RELEASED = "released"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class HeldScanRecord:
    """A scan that is held: why, and since when (UTC)."""

    scan_id: str
    bucket: str
    reason: str
    held_at: datetime


@dataclass(frozen=True, slots=True)
class Deciding:
    """A decision that is to be recorded. Raises SettingsError without a name or a reason, or for one that is too long.

    From Airflow the name is that of the user that it authenticated; at a terminal it is what the person there says.
    """

    scan_id: str
    by: str
    reason: str

    def __post_init__(self) -> None:
        for what, text, longest in (("name", self.by, NAME_CHARS), ("reason", self.reason, REASON_CHARS)):
            if not text.strip():
                raise SettingsError(f"a {what} is needed: it is kept with the decision")
            if len(text) > longest:
                raise SettingsError(f"the {what} has {len(text):,} characters: at most {longest:,} are kept")


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
