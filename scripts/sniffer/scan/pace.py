"""How fast a scan works once it is under way: the part of its speed that a scan of another size will have, too."""

from __future__ import annotations

from dataclasses import dataclass

_FEWEST_STEPS = 4
"""Confirmations that a rate can be drawn from."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Images per second while the consumers were busy, without start and end; and how many consumers there were."""

    images_per_s: float
    consumers: int


class PaceMeter:
    """Measures a scan's pace as the slope of the line through (time, images confirmed), by least squares.

    A line through all points does not depend on which batch came first or last, as a difference of two would. It begins
    anew when more consumers than ever are there, so that their start does not count. Constant memory: sums are kept up
    to date (Welford, "Note on a method for calculating corrected sums of squares and products", 1962).
    """

    def __init__(self) -> None:
        self._done = 0
        self._most_consumers = 0
        self._before: Pace | None = None
        self._begin()

    def _begin(self) -> None:
        self._steps = 0
        self._mean_time = self._mean_done = 0.0
        self._time_squares = self._products = 0.0

    def note(self, now: float, done: int, consumers: int) -> None:
        """`done` images are confirmed now. Cheap: called in every turn of the producer's loop."""
        if consumers > self._most_consumers:
            self._before = self.pace()
            self._most_consumers = consumers
            self._begin()
        if done == self._done:
            return
        self._done = done
        self._steps += 1
        from_mean = now - self._mean_time
        self._mean_time += from_mean / self._steps
        self._mean_done += (done - self._mean_done) / self._steps
        self._time_squares += from_mean * (now - self._mean_time)
        self._products += from_mean * (done - self._mean_done)

    def pace(self) -> Pace | None:
        """The pace, or None when too little was confirmed to measure it."""
        if self._steps < _FEWEST_STEPS or self._time_squares <= 0 or self._products <= 0:
            return self._before
        return Pace(round(self._products / self._time_squares, 3), self._most_consumers)
