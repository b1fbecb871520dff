"""The flood breaker: ends a scan early, and has its results held, when its share of flagged images is no usual one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Protocol

from sniffer.core.errors import IncompleteScan, TransientError
from sniffer.core.flag_records import FlagCounts, FloodRule
from sniffer.core.plan_flags import PlanCounts, PlanPast
from sniffer.core.records import FencingToken
from sniffer.scan.channel import Clock
from sniffer.scan.flood import HISTORY_SCANS, early_hold_reason, hold_reason
from sniffer.scan.plan_flood import PAST_PLANS, shard_early_reason, shard_hold_reason, whole_early_reason

log = logging.getLogger(__name__)

LOOK_S = 10.0
"""While a scan runs, MySQL is asked so often what it has flagged: a few rows for each consumer that it has had."""
_SHARDS_A_LOOK = 100
"""Of a scan in that many shards, half as often."""


class FlagStore(Protocol):
    """What MySQL knows of flagged images. Each call is one transaction."""

    def flag_counts(self, token: FencingToken) -> FlagCounts:
        """What that scan has scored in all its runs since it was last discarded."""

    def flag_history(self, token: FencingToken, count: int) -> tuple[FlagCounts, ...]:
        """The same of the last complete scans of the same source before it, by the same model and threshold."""

    def release_of(self, token: FencingToken) -> str:
        """Who released that scan, and why; empty when nobody has."""

    def plan_past(self, token: FencingToken, count: int, plans: int) -> PlanPast | None:
        """What the scan in shards is judged by that this one is a part of; None when it is none."""

    def plan_counts(self, token: FencingToken) -> PlanCounts:
        """Where all shards of it stand."""

    def hold_plan(self, token: FencingToken, reason: str) -> None:
        """From now on all of it is held, unless it is already, or was released."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a scan is held, and who released it already; both empty for a scan like those before it.

    `whole` is why the scan in shards is, or is to be, held that this one is a part of. That is no word on the part:
    when the whole is released, the part counts as far as it came.
    """

    reason: str = ""
    released: str = ""
    whole: str = ""

    def __bool__(self) -> bool:
        """Whether there is a reason to stop."""
        return bool(self.reason or self.whole)


class FloodBreaker:
    """Looks while the scan runs, on the one thread of `executor`, and judges it at its end. All that it goes by is in
    MySQL, so that a run that was killed is judged alike by the next.

    A part of a scan in shards is judged for itself, and with all other parts, whichever sees it first; while the whole
    is held, each part stops that still runs.

    `watched` is the store of that thread alone; `size` is how many images are known to be scored.
    """

    def __init__(
        self, watched: FlagStore, rule: FloodRule, executor: Executor, clock: Clock, size: Callable[[], int]
    ) -> None:
        self._watched = watched
        self._rule = rule
        self._executor = executor
        self._clock = clock
        self._size = size
        self._looked_at: float | None = None
        self._look: Future[Hold] | None = None
        self._look_s = LOOK_S
        self._past: _Past | None = None
        self._flood = Hold()

    def check(self, token: FencingToken) -> None:
        """Look again when it is time. Without waiting; raises IncompleteScan when the last look found a flood."""
        if not self._rule.is_on:
            return
        if self._look is not None and self._look.done():
            look, self._look = self._look, None
            try:
                self._flood = look.result()
            except TransientError as error:
                log.warning("what this scan has flagged could not be looked at: %s", error)
            if self._flood:
                raise IncompleteScan(f"stopped early, since {self._flood.reason or self._flood.whole}")
        if self._look is None and (self._looked_at is None or self._clock() - self._looked_at >= self._look_s):
            self._looked_at = self._clock()
            self._look = self._executor.submit(self._early_reason, token, self._size())

    def end(self) -> None:
        """Look no more."""
        self._executor.shutdown(wait=False)

    def judge(self, store: FlagStore, token: FencingToken, *, is_finished: bool) -> Hold:
        """The verdict on what is stored by now, with a store of the caller's thread.

        Of a scan that did not finish only a flood is judged, which nothing to come could undo. So is the scan in shards
        that it is a part of, until it is certified.
        """
        if self._flood or not self._rule.is_on:
            return self._flood
        return self._verdict(store, token, _past_of(store, token), self._size(), is_finished=is_finished)

    def _early_reason(self, token: FencingToken, size: int) -> Hold:
        self._past = self._past or _past_of(self._watched, token)
        verdict = self._verdict(self._watched, token, self._past, size, is_finished=False)
        return Hold(whole=verdict.whole) if self._past.released else verdict

    def _verdict(self, store: FlagStore, token: FencingToken, past: _Past, size: int, *, is_finished: bool) -> Hold:
        if past.plan is not None:
            return self._verdict_on_part(store, token, past, past.plan, size, is_finished=is_finished)
        counts = store.flag_counts(token)
        if is_finished:
            return Hold(hold_reason(self._rule, past.history, counts), past.released)
        return Hold(early_hold_reason(self._rule, past.history, counts, size), past.released)

    def _verdict_on_part(
        self, store: FlagStore, token: FencingToken, past: _Past, plan: PlanPast, size: int, *, is_finished: bool
    ) -> Hold:
        counts, own = store.plan_counts(token), store.flag_counts(token)
        # The more parts there are, the more a look costs, and the more of them look.
        self._look_s = LOOK_S * (1 + len(counts.shards) / _SHARDS_A_LOOK)
        if counts.held_for:
            return Hold(whole=f"scan {plan.scan_id} is held, of which this is a shard: {counts.held_for}")
        if counts.released:
            return Hold(released=past.released)
        if whole := whole_early_reason(self._rule, plan, counts, size):
            return Hold(whole=whole)
        if is_finished:
            return Hold(shard_hold_reason(self._rule, plan, counts, own), past.released)
        return Hold(shard_early_reason(self._rule, plan, counts, own, size), past.released)


@dataclass(frozen=True, slots=True)
class _Past:
    """What was before this run, and does not change while it goes on: nobody releases a scan that runs."""

    history: tuple[FlagCounts, ...]
    released: str
    plan: PlanPast | None


def _past_of(store: FlagStore, token: FencingToken) -> _Past:
    plan = store.plan_past(token, HISTORY_SCANS, PAST_PLANS)
    history = store.flag_history(token, HISTORY_SCANS) if plan is None else plan.history
    return _Past(history, store.release_of(token), plan)
