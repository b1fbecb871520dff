"""Retrying what fails for the moment: capped back-off with jitter, until patience ends."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sniffer.core.errors import TransientError

log = logging.getLogger(__name__)

T = TypeVar("T")


class RetryLater(Exception):
    """Raised by an attempt that failed for the moment. Its text is the reason, on one line."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How a foreign system is retried, and what is said when it stays away.

    `system` names it, `way_out` says what to do then. The pauses grow from `first_pause_s` to `last_pause_s`; each is
    shortened at random by up to a half, so that many processes do not come back at the same moment.
    """

    system: str
    way_out: str
    patience_s: float
    first_pause_s: float = 0.05
    last_pause_s: float = 5.0

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
        deadline, pause_s = clock() + self.patience_s, self.first_pause_s
        while True:
            try:
                return attempt()
            except RetryLater as error:
                if clock() >= deadline:
                    raise TransientError(self._given_up(error)) from error.__cause__
                log.warning("%s: %s; trying again in %.1f s", self.system, error, pause_s)
            sleep(pause_s * uniform(0.5, 1.0))
            pause_s = min(2 * pause_s, self.last_pause_s)

    def _given_up(self, reason: RetryLater) -> str:
        waited = f"has not answered for {self.patience_s:g} s" if self.patience_s else "does not answer"
        return f"{self.system} {waited} ({reason}): {self.way_out}"
