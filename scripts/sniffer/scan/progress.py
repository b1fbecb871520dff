"""What a running scan says of itself at an interval: a log line or a progress bar, and a JSON file.

Its counts are of confirmed rows only.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sniffer.core.files import write_json
from sniffer.core.progress_bar import ProgressBar
from sniffer.scan.listing import ListingTally

log = logging.getLogger(__name__)

LOG_INTERVAL_S = 10.0
FILE_INTERVAL_S = 1.0
RATE_WINDOW_S = 60.0
"""The rate is that of the last minute, so that the time left follows a fleet that grows or shrinks."""
_SHORTEST_S = 0.001
"""Over less time than this no rate is worth anything."""


@dataclass(frozen=True, slots=True)
class ScanFigures:
    """How far a scan is. `done` are images with a committed row; `time_left_s` is None while that cannot be known."""

    listed: int
    unchanged: int
    done: int
    images_per_s: float
    time_left_s: float | None
    listing_done: bool

    def draw(self, bar: ProgressBar) -> None:
        """Show them on a terminal."""
        unchanged = f", {self.unchanged:,} unchanged" if self.unchanged else ""
        listing = "" if self.listing_done else ", listing"
        bar.update(self.done, self.listed - self.unchanged, f"{self.images_per_s:.1f} images/s{unchanged}{listing}")


class ScanProgress:
    """Reports on a scan. `path`, if given, always holds one whole JSON document; `bar` stands for the log lines."""

    def __init__(
        self,
        tally: ListingTally,
        path: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        bar: ProgressBar | None = None,
    ) -> None:
        self.tally = tally
        self._path = path
        self._clock = clock
        self._bar = bar
        self._history: deque[tuple[float, int]] = deque([(clock(), 0)])
        self._logged_at = clock()

    def report(self, done: int, in_flight: int, *, at_once: bool = False) -> None:
        """Report if its interval has passed; `done` are images with a committed row, `in_flight` those without."""
        now = self._clock()
        if not at_once and now - self._history[-1][0] < FILE_INTERVAL_S:
            return
        while len(self._history) > 1 and now - self._history[0][0] > RATE_WINDOW_S:
            self._history.popleft()
        rate = (done - self._history[0][1]) / max(now - self._history[0][0], _SHORTEST_S)
        self._history.append((now, done))
        left_s = in_flight / rate if rate > 0 and self.tally.finished else None
        self._show(done, rate, left_s)
        if self._bar is None and (at_once or now - self._logged_at >= LOG_INTERVAL_S):
            self._logged_at = now
            self._log(done, rate, left_s)

    def _log(self, done: int, rate: float, left_s: float | None) -> None:
        tally = self.tally
        left = "listing still runs" if not tally.finished else "stalled" if left_s is None else f"{left_s:.0f} s left"
        log.info(
            "listed %d (%d unchanged), done %d, %.1f images/s, %s", tally.listed, tally.unchanged, done, rate, left
        )

    def _show(self, done: int, rate: float, left_s: float | None) -> None:
        tally = self.tally
        figures = ScanFigures(
            listed=tally.listed,
            unchanged=tally.unchanged,
            done=done,
            images_per_s=round(rate, 2),
            time_left_s=left_s and round(left_s, 1),
            listing_done=tally.finished,
        )
        if self._path:
            write_json(self._path, figures)
        if self._bar is not None:
            figures.draw(self._bar)
