"""What a consumer calls fatal ends no scan by itself: the producer asks the model server and MySQL for itself."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future

from sniffer.core.errors import ContractError, SettingsError, SnifferError
from sniffer.scan.channel import Clock

log = logging.getLogger(__name__)

RECHECK_AFTER_S = 30.0
"""However many consumers call an error fatal: we check for ourselves at most this often."""


class Recheck:
    """Asks on a thread of `executor`, one question at a time; `wake` is called when the answer is there."""

    def __init__(self, ask: Callable[[], None], executor: Executor, clock: Clock, wake: Callable[[], None]) -> None:
        self._ask = ask
        self._executor = executor
        self._clock = clock
        self._wake = wake
        self._rechecking: Future[None] | None = None
        self._rechecked_at = clock() - RECHECK_AFTER_S

    def ask(self) -> None:
        """Begin to ask, unless that is being done, or was done a moment ago."""
        now = self._clock()
        if self._rechecking is None and now - self._rechecked_at >= RECHECK_AFTER_S:
            self._rechecked_at = now
            self._rechecking = self._executor.submit(self._ask)
            self._rechecking.add_done_callback(lambda _: self._wake())

    def take(self) -> None:
        """Raise ContractError or SettingsError when we found wrong ourselves what a consumer called a fatal error."""
        if self._rechecking is None or not self._rechecking.done():
            return
        rechecking, self._rechecking = self._rechecking, None
        try:
            rechecking.result()
        except (ContractError, SettingsError):
            raise
        except SnifferError as error:
            log.warning("while checking what a consumer called fatal: %s", error)
