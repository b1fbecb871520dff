"""Whether a loop has turned all the time, or its process was frozen: then silence says nothing about the others."""

from __future__ import annotations

from sniffer.scan.channel import Clock


class TurnWatch:
    """Measures the time between two turns of a loop. `tolerance_s` is what a busy machine may add to a wait.

    The clock does not run while the whole machine sleeps, and then no deadline passes either.
    """

    def __init__(self, clock: Clock, tolerance_s: float) -> None:
        self._clock = clock
        self._tolerance_s = tolerance_s
        self._last: float | None = None

    def frozen_s(self, wait_s: float) -> float:
        """Called at the beginning of a turn: for how long the loop did not turn, beyond the wait that it meant to make.

        Zero when that is within the tolerance.
        """
        now, last = self._clock(), self._last
        self._last = now
        over_s = 0.0 if last is None else now - last - wait_s
        return over_s if over_s > self._tolerance_s else 0.0
