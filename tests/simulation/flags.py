"""What the simulated MySQL knows of flagged images: those of the one scan, which has no past."""

from __future__ import annotations

import random

from simulation.clockwork import Clockwork, Process, SimulatedThreads
from simulation.database import MemoryDatabase, Session
from sniffer.core.flag_records import FlagCounts, FloodRule
from sniffer.core.plan_flags import PlanCounts, PlanPast
from sniffer.core.records import FencingToken, Outcome
from sniffer.scan.breaker import FloodBreaker
from sniffer.scan.listing import ListingTally

_SCORED = (Outcome.PREDICTED, Outcome.REUSED)


class MemoryFlags:
    """A FlagStore over a connection of its own, which takes nothing from the history's chance: a seed goes on to mean
    what it did."""

    def __init__(self, database: MemoryDatabase, process: Process, patience_s: float) -> None:
        self._session = Session(database, process, patience_s, random.Random(1))

    def flag_counts(self, token: FencingToken) -> FlagCounts:
        """What the scan has scored, by the tallies of its runs."""
        runs = (FencingToken(token.scan_number, number) for number in range(1, token.run_number + 1))
        tallies = [tally for run in runs for tally in self._session.tallies(run) if tally.outcome in _SCORED]
        return FlagCounts(sum(tally.images for tally in tallies), sum(tally.flagged for tally in tallies))

    def flag_history(self, token: FencingToken, count: int) -> tuple[FlagCounts, ...]:
        """No scan was before it; asking takes its time, and may fail."""
        self._session.tallies(token)
        return ()

    def release_of(self, token: FencingToken) -> str:
        """Nobody has released anything."""
        return ""

    def plan_past(self, token: FencingToken, count: int, plans: int) -> PlanPast | None:
        """The scan is in one piece."""
        return None

    def plan_counts(self, token: FencingToken) -> PlanCounts:
        """There is nothing to count."""
        raise NotImplementedError

    def hold_plan(self, token: FencingToken, reason: str) -> None:
        """There is nothing to hold."""
        raise NotImplementedError


def breaker_of(flags: MemoryFlags, process: Process, clockwork: Clockwork, tally: ListingTally) -> FloodBreaker:
    """A breaker that looks at MySQL as a real one does."""
    return FloodBreaker(
        flags, FloodRule(), SimulatedThreads(process, 1), clockwork.time, lambda: tally.listed - tally.decided
    )
