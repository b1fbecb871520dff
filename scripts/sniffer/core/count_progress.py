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
        self._start_s = self._logged_s = clock()

    def advance(self, images: int = 1) -> None:
        """Count these images as done."""
        self._done += images
        now_s = self._clock()
        if now_s - self._logged_s < PROGRESS_S and self._done < self._total:
            return
        self._logged_s = now_s
        rate = self._done / max(now_s - self._start_s, 1e-9)
        left_s = (self._total - self._done) / rate
        log.info("%s: %d of %d images, %.1f images/s, %.0f s left", self._stage, self._done, self._total, rate, left_s)
