"""SIGTERM and SIGINT, heeded at points where a rollout can stop: an exception out of a signal handler may be lost.

(SQLAlchemy's pool and every `__del__` swallow what is raised within them.)
"""

from __future__ import annotations

import signal
import time

from sniffer.core.errors import SnifferError

_LOOK_S = 0.2


class Interrupted(SnifferError):
    """A signal asked the program to end; running the same step again does what is left."""


class Interruption:
    """Whether a signal has asked us to end."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._heeded = True

    def listen(self) -> None:
        """Take over both signals; for the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def ignore(self) -> None:
        """From now on nothing interrupts: what follows puts things right."""
        self._heeded = False

    def pause(self, seconds: float) -> None:
        """Wait so long; raises Interrupted as soon as a signal has come, also with 0 seconds."""
        deadline = time.monotonic() + seconds
        while True:
            if self._number is not None and self._heeded:
                raise Interrupted(f"ended by {signal.Signals(self._number).name}: run the same step again")
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return
            time.sleep(min(left_s, _LOOK_S))

    def _note(self, number: int, _frame: object) -> None:
        self._number = number
