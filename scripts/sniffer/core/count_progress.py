"""The log line of a long stage: done, total, images/s and time left, every few seconds."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

PROGRESS_S = 10.0


class StageProgress:
    """Counts finished images of one stage, and logs how far it is at an interval and at its end."""

    def __init__(self, stage: str, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._stage = stage
        self._total = total
        self._clock = clock
        self._done = 0
        self._started_at = self._logged_at = clock()

    def advance(self, images: int = 1) -> None:
        """Count these images as done."""
        self._done += images
        now = self._clock()
        if now - self._logged_at < PROGRESS_S and self._done < self._total:
            return
        self._logged_at = now
        rate = self._done / max(now - self._started_at, 1e-9)
        left_s = (self._total - self._done) / rate
        log.info("%s: %d of %d images, %.1f images/s, %.0f s left", self._stage, self._done, self._total, rate, left_s)
