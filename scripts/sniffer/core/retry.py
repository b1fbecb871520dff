"""Retrying what fails for the moment: capped back-off with jitter, until patience ends."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sniffer.core.errors import TransientError
from sniffer.core.redaction import hide

log = logging.getLogger(__name__)

T = TypeVar("T")

_LONGEST_REASON = 2000
"""Characters; what a foreign system says may be megabytes."""


class RetryLater(Exception):
    """Raised by an attempt that failed for the moment. Its text is the reason, on one line, without secrets.

    `after_s`: the system has asked to be left alone for so long.
    """

    def __init__(self, reason: str, after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.after_s = after_s

    def __str__(self) -> str:
        return hide(super().__str__())


class BackOff:
    """The pauses between attempts: each twice the one before, up to `last_s`, shortened at random by up to a half.

    Random, so that many processes do not come back at the same moment.
    """

    def __init__(
        self, first_s: float, last_s: float, *, uniform: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._first_s = first_s
        self._last_s = last_s
        self._uniform = uniform
        self.reset()

    def reset(self) -> None:
        """Begin again with the first pause: an attempt went well."""
        self._longest_s = self._first_s

    def next_s(self) -> float:
        """How long to wait before the next attempt."""
        pause_s = self._longest_s * self._uniform(0.5, 1.0)
        self._longest_s = min(2 * self._longest_s, self._last_s)
        return pause_s


def not_counted() -> None:
    """What is called for each retry that nobody counts."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How a foreign system is retried, and what the error says when it stays away.

    `system` names it, `way_out` says what to do then. The pauses are those of BackOff(first_pause_s, last_pause_s).
    `on_retry` is called before each further attempt.
    """

    system: str
    way_out: str
    patience_s: float
    first_pause_s: float = 0.05
    last_pause_s: float = 5.0
    on_retry: Callable[[], None] = not_counted

    def call(
        self,
        attempt: Callable[[], T],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> T:
        """What `attempt` returns; it is called again whenever it raises RetryLater.

        Raises TransientError once the patience is over, from the cause of the last RetryLater. Without patience there
        is one attempt.
        """
        deadline = clock() + self.patience_s
        back_off = BackOff(self.first_pause_s, self.last_pause_s, uniform=uniform)
        while True:
            try:
                return attempt()
            except RetryLater as error:
                left_s = deadline - clock()
                if left_s <= 0:
                    raise TransientError(self._given_up(error)) from error.__cause__
                pause_s = back_off.next_s()
                if error.after_s > pause_s:
                    # What is asked for beyond our patience is not waited for; the last attempt is at its end.
                    pause_s = max(pause_s, min(error.after_s, left_s))
                log.warning("%s: %s; trying again in %.1f s", self.system, error, pause_s)
                self.on_retry()
            sleep(pause_s)

    def _given_up(self, reason: RetryLater) -> str:
        waited = f"has not answered for {self.patience_s:g} s" if self.patience_s else "does not answer"
        return f"{self.system} {waited} ({reason}): {self.way_out}"
