"""The flood breaker: ends a scan early, and has its results held, when its share of flagged images is no usual one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Protocol

from sniffer.core.errors import IncompleteScan, TransientError
from sniffer.core.flag_records import FlagCounts, FloodRule
from sniffer.core.records import FencingToken
from sniffer.scan.channel import Clock
from sniffer.scan.flood import HISTORY_SCANS, early_hold_reason, hold_reason

log = logging.getLogger(__name__)

LOOK_S = 10.0
"""While a scan runs, MySQL is asked so often what it has flagged: a few rows for each consumer that it has had."""


class FlagStore(Protocol):
    """What MySQL knows of flagged images. Each call is one transaction."""

    def flag_counts(self, token: FencingToken) -> FlagCounts:
        """What that scan has scored in all its runs since it was last discarded."""

    def flag_history(self, token: FencingToken, count: int) -> tuple[FlagCounts, ...]:
        """The same of the last complete scans of the same source before it, by the same model and threshold."""

    def release_of(self, token: FencingToken) -> str:
        """Who released that scan, and why; empty when nobody has."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a scan is held, and who released it already; both empty for a scan like those before it."""

    reason: str = ""
    released: str = ""


class FloodBreaker:
    """Looks while the scan runs, on the one thread of `executor`, and judges it at its end. All that it goes by is in
    MySQL, so that a run that was killed is judged alike by the next.

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
        self._look: Future[str] | None = None
        self._past: _Past | None = None
        self._flood = ""

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
                raise IncompleteScan(f"stopped early, since {self._flood}")
        if self._look is None and (self._looked_at is None or self._clock() - self._looked_at >= LOOK_S):
            self._looked_at = self._clock()
            self._look = self._executor.submit(self._early_reason, token, self._size())

    def end(self) -> None:
        """Look no more."""
        self._executor.shutdown(wait=False)

    def judge(self, store: FlagStore, token: FencingToken, *, is_finished: bool) -> Hold:
        """The verdict on what is stored by now, with a store of the caller's thread.

        Of a scan that did not finish only a flood is judged, which nothing to come could undo.
        """
        if self._flood or not self._rule.is_on:
            return Hold(self._flood)
        past, counts = _past_of(store, token), store.flag_counts(token)
        if is_finished:
            return Hold(hold_reason(self._rule, past.history, counts), past.released)
        return Hold(early_hold_reason(self._rule, past.history, counts, self._size()), past.released)

    def _early_reason(self, token: FencingToken, size: int) -> str:
        self._past = self._past or _past_of(self._watched, token)
        if self._past.released:
            return ""
        return early_hold_reason(self._rule, self._past.history, self._watched.flag_counts(token), size)


@dataclass(frozen=True, slots=True)
class _Past:
    """What was before this run, and does not change while it goes on: nobody releases a scan that runs."""

    history: tuple[FlagCounts, ...]
    released: str


def _past_of(store: FlagStore, token: FencingToken) -> _Past:
    return _Past(store.flag_history(token, HISTORY_SCANS), store.release_of(token))
