"""How far a long stage is: a bar on a terminal, else a log line with done, total, rate and time left at an interval."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from sniffer.core.progress_bar import ProgressBar, shows_bars

log = logging.getLogger(__name__)

PROGRESS_S = 10.0


class StageProgress:
    """Counts what is finished of one stage, and shows how far it is. A context manager around the stage."""

    def __init__(
        self, stage: str, total: int, clock: Callable[[], float] = time.monotonic, *, unit: str = "images"
    ) -> None:
        self._stage = stage
        self._total = total
        self._clock = clock
        self._unit = unit
        self._done = 0
        self._started_at = self._logged_at = clock()
        self._bar = ProgressBar(stage, unit) if shows_bars() else None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.__enter__()
            self._bar.update(0, self._total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, trace)

    def advance(self, count: int = 1, detail: str = "") -> None:
        """Count so many as done; the bar shows `detail` beside it."""
        self._done += count
        if self._bar is not None:
            self._bar.update(self._done, self._total, detail)
            return
        now = self._clock()
        if not self._done or (now - self._logged_at < PROGRESS_S and self._done < self._total):
            return
        self._logged_at = now
        rate = self._done / max(now - self._started_at, 1e-9)
        left_s = (self._total - self._done) / rate
        log.info(
            "%s: %d of %d %s, %.1f %s/s, %.0f s left",
            self._stage,
            self._done,
            self._total,
            self._unit,
            rate,
            self._unit,
            left_s,
        )
