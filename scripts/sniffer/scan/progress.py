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

from sniffer.core.errors import SettingsError
from sniffer.core.files import write_json
from sniffer.core.progress_bar import ProgressBar
from sniffer.scan.listing import ListingTally
from sniffer.scan.pace import Pace, PaceMeter

log = logging.getLogger(__name__)

LOG_INTERVAL_S = 10.0
FILE_INTERVAL_S = 1.0
RATE_WINDOW_S = 60.0
"""The rate is that of the last minute, so that the time left follows a fleet that grows or shrinks."""
_SHORTEST_S = 0.001
"""Over less time than this no rate is worth anything."""
STALLED_S = 60.0
"""A scan that confirms nothing for so long is called stalled: more than a model takes to load, or S3 to come back."""


@dataclass(frozen=True, slots=True)
class ScanFigures:
    """How far a scan is. `done` are images with a committed row; `time_left_s` is None while that cannot be known.

    `state` says in words what goes on.
    """

    listed: int
    unchanged: int
    done: int
    images_per_s: float
    time_left_s: float | None
    listing_done: bool
    state: str

    def draw(self, bar: ProgressBar) -> None:
        """Show them on a terminal."""
        unchanged = f", {self.unchanged:,} unchanged" if self.unchanged else ""
        # The bar itself shows the time left.
        state = "" if self.time_left_s else f", {self.state}"
        bar.update(self.done, self.listed - self.unchanged, f"{self.images_per_s:.1f} images/s{unchanged}{state}")


class ScanProgress:
    """Reports on a scan. `path`, if given, always holds one whole JSON document; `bar` stands for the log lines.

    `on_report` is called with each report, and told whether something has moved since the last one.
    """

    def __init__(
        self,
        tally: ListingTally,
        path: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        bar: ProgressBar | None = None,
        on_report: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self.tally = tally
        self._on_report = on_report
        self._path = path
        self._clock = clock
        self._bar = bar
        self._history: deque[tuple[float, int]] = deque([(clock(), 0)])
        self._logged_at = self._moved_at = clock()
        self._seen = (0, 0)
        self._meter = PaceMeter()
        self._has_warned = False

    def pace(self) -> Pace | None:
        """The scan's speed without start and end, once there is enough to measure it."""
        return self._meter.pace()

    def report(self, done: int, in_flight: int, consumers: int, *, at_once: bool = False) -> None:
        """Report if its interval has passed; `done` are images with a committed row, `in_flight` those without."""
        now = self._clock()
        self._meter.note(now, done, consumers)
        if not at_once and now - self._history[-1][0] < FILE_INTERVAL_S:
            return
        while len(self._history) > 1 and now - self._history[0][0] > RATE_WINDOW_S:
            self._history.popleft()
        seen = (self.tally.listed, done)
        self._on_report(seen != self._seen)
        if seen != self._seen:
            self._seen, self._moved_at = seen, now
        rate = (done - self._history[0][1]) / max(now - self._history[0][0], _SHORTEST_S)
        self._history.append((now, done))
        figures = self._figures(done, in_flight, consumers, rate, now - self._moved_at)
        self._show(figures)
        if self._bar is None and (at_once or now - self._logged_at >= LOG_INTERVAL_S):
            self._logged_at = now
            self._log(figures)

    def _figures(self, done: int, in_flight: int, consumers: int, rate: float, quiet_s: float) -> ScanFigures:
        tally = self.tally
        left_s = in_flight / rate if rate > 0 and tally.finished else None
        return ScanFigures(
            listed=tally.listed,
            unchanged=tally.unchanged,
            done=done,
            images_per_s=round(rate, 2),
            time_left_s=left_s and round(left_s, 1),
            listing_done=tally.finished,
            state=self._state(done, in_flight, consumers, left_s, quiet_s),
        )

    def _state(self, done: int, in_flight: int, consumers: int, left_s: float | None, quiet_s: float) -> str:
        """What the scan does, in words. `quiet_s` is for how long nothing has been listed or confirmed.

        Only a scan that has images in hand, or waits for the listing, and moves neither for STALLED_S is stalled.
        """
        if self.tally.finished and in_flight == 0:
            return "nothing left to do" if self.tally.listed else "nothing listed"
        if quiet_s >= STALLED_S:
            what = "confirmed" if self.tally.finished else "listed or confirmed"
            return f"stalled: nothing {what} for {_in_words(quiet_s)}, see the warnings of this log"
        if in_flight and not consumers:
            return "waiting for a consumer"
        if not self.tally.finished:
            return "still listing"
        if left_s is not None:
            return f"{left_s:.0f} s left"
        return "starting: no image is confirmed yet" if done == 0 else f"nothing confirmed for {_in_words(quiet_s)}"

    @staticmethod
    def _log(figures: ScanFigures) -> None:
        log.info(
            "listed %d (%d unchanged), done %d, %.1f images/s, %s",
            figures.listed,
            figures.unchanged,
            figures.done,
            figures.images_per_s,
            figures.state,
        )

    def _show(self, figures: ScanFigures) -> None:
        if self._path:
            self._write(self._path, figures)
        if self._bar is not None:
            figures.draw(self._bar)

    def _write(self, path: Path, figures: ScanFigures) -> None:
        """A file that cannot be written any more is no reason to end a scan; it is tried again each time."""
        try:
            write_json(path, figures)
        except SettingsError as error:
            if not self._has_warned:
                log.warning("--progress: %s", error)
            self._has_warned = True


def _in_words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
