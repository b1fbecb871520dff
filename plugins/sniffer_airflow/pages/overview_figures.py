"""The figures of the page *Flags and review*, made of what MySQL has. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sniffer.core.overview_records import ScanSummary
from sniffer.core.recorded_scan import COMPLETE, INCOMPLETE, RUNNING
from sniffer.core.records import Outcome

HELD, DISCARDED = "held", "discarded"
HOLDS, BROKEN, STOPPED = "holds", "broken", "stopped"

_WORST_FIRST = (BROKEN, HELD, STOPPED, DISCARDED, RUNNING, HOLDS)
_RESULT = (Outcome.UNCHANGED, Outcome.PREDICTED, Outcome.REUSED)
_NO_IMAGE = (Outcome.SKIPPED, Outcome.GONE)
_ARCHIVED = "archived"


@dataclass(frozen=True, slots=True)
class NightFlags:
    """A night: images that got a score in it, those at or above the threshold, and scans whose flags are held back."""

    night: date
    images: int = 0
    flagged: int = 0
    held: int = 0

    @property
    def share(self) -> float | None:
        """Flagged of the images; None of none."""
        return self.flagged / self.images if self.images else None


@dataclass(frozen=True, slots=True)
class SourceFigures:
    """One bucket and prefix: where its newest scan stands, and what the nights have found in it."""

    newest: ScanSummary
    state: str
    last_good: date | None
    """The newest night whose certificate holds; None: none of those shown."""
    nights: tuple[NightFlags, ...]

    @property
    def source(self) -> str:
        """Which one it is, hex."""
        return self.newest.source

    @property
    def place(self) -> str:
        """The bucket, and the prefix as the newest scan had it."""
        return f"s3://{self.newest.bucket}/{self.newest.prefix}"

    @property
    def dag_id(self) -> str:
        """The DAG that has started the newest scan; empty: somebody did by hand."""
        return self.newest.dag_run.partition("/")[0]

    @property
    def total(self) -> NightFlags:
        """All of its nights together, as the newest one."""
        return added(self.nights, self.nights[-1].night)


@dataclass(frozen=True, slots=True)
class Coverage:
    """What became of the objects that the newest ended scan by the stable version has listed in a source."""

    scan: ScanSummary
    archived: int
    """Those of the inaccessible ones that lie in an archive of S3."""

    @property
    def images(self) -> int:
        """Objects that were to get a result: neither left out by rule nor deleted meanwhile."""
        return self.scan.listed - sum(self.scan.counts[outcome] for outcome in _NO_IMAGE)

    @property
    def with_result(self) -> int:
        """Those with a result: of this scan, or of an earlier one by the same version."""
        return sum(self.scan.counts[outcome] for outcome in _RESULT)

    @property
    def share(self) -> float | None:
        """With a result, of the images; None of none."""
        return self.with_result / self.images if self.images else None


def state_in_words(scan: ScanSummary) -> str:
    """How a scan stands; of a state that a newer release writes, its name."""
    if scan.state == RUNNING:
        return RUNNING if scan.is_alive else STOPPED
    return {COMPLETE: HOLDS, INCOMPLETE: BROKEN}.get(scan.state, scan.state)


def flags_by_night(scans: Iterable[ScanSummary], today: date, nights: int) -> tuple[NightFlags, ...]:
    """Each of the last so many nights, in their order, also those without a scan. What is held is not flagged yet."""
    found: dict[date, list[ScanSummary]] = {today - timedelta(days=ago): [] for ago in reversed(range(nights))}
    for scan in scans:
        if scan.night in found:
            found[scan.night].append(scan)
    return tuple(
        NightFlags(
            night,
            sum(scan.scored for scan in of_night if scan.state != HELD),
            sum(scan.flagged for scan in of_night if scan.state != HELD),
            sum(scan.state == HELD for scan in of_night),
        )
        for night, of_night in found.items()
    )


def added(nights: Sequence[NightFlags], night: date) -> NightFlags:
    """All these nights as one."""
    return NightFlags(
        night, sum(one.images for one in nights), sum(one.flagged for one in nights), sum(one.held for one in nights)
    )


def sources_of(scans: Iterable[ScanSummary], today: date, nights: int) -> list[SourceFigures]:
    """Each source of these scans, which come newest first: those that somebody has to look at come first."""
    by_source: dict[str, list[ScanSummary]] = {}
    for scan in scans:
        by_source.setdefault(scan.source, []).append(scan)
    found = [
        SourceFigures(
            own[0],
            state_in_words(own[0]),
            max((scan.night for scan in own if scan.state == COMPLETE), default=None),
            flags_by_night(own, today, nights),
        )
        for own in by_source.values()
    ]
    return sorted(found, key=lambda one: (_rank(one.state), one.place))


def covering(scans: Iterable[ScanSummary], model_version: int) -> list[ScanSummary]:
    """Of each source the newest scan by that version that has ended with counts; of scans that come newest first."""
    newest: dict[str, ScanSummary] = {}
    for scan in scans:
        if scan.model_version == model_version and scan.listed and scan.state in (COMPLETE, INCOMPLETE, HELD):
            newest.setdefault(scan.source, scan)
    return sorted(newest.values(), key=lambda scan: (scan.bucket, scan.prefix))


def coverage_of(scans: Iterable[ScanSummary], codes: Mapping[int, Mapping[str, int]]) -> list[Coverage]:
    """The coverage of each of these scans, with how many images ended with which error code, by the scan's number."""
    return [Coverage(scan, codes.get(scan.number, {}).get(_ARCHIVED, 0)) for scan in scans]


def forecast(waiting: int, inflow: float, pace: float, *, is_all: bool = True) -> str:
    """When a queue is empty into which so many images come a day, and of which so many are decided a day.

    `is_all`: no more than these wait.
    """
    grows = inflow - pace
    if round(grows) > 0:
        return f"grows by about {grows:,.0f} a day"
    if not waiting and is_all:
        return "empty, and stays so"
    if round(-grows) == 0:
        return "does not get shorter"
    days = math.ceil(waiting / -grows)
    return f"empty in {'about' if is_all else 'more than'} {days:,} day{'' if days == 1 else 's'}"


def _rank(state: str) -> int:
    """The place of a state in the order; one that nobody knows comes first."""
    return _WORST_FIRST.index(state) if state in _WORST_FIRST else -1
