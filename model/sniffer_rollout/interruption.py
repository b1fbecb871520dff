"""SIGTERM and SIGINT, obeyed where a rollout can stop.

A signal handler does not raise, since SQLAlchemy's pool and every `__del__` swallow exceptions that are raised in them.
"""

from __future__ import annotations

import signal
import time

from sniffer.core.errors import SnifferError

_LOOK_S = 0.2


class Interrupted(SnifferError):
    """A signal asked the program to end; the same step, run again, does what is left."""


class Interruption:
    """Whether a signal has asked us to end."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._obeyed = True

    def listen(self) -> None:
        """Handle both signals from now on; call it in the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def ignore(self) -> None:
        """From now on no signal interrupts, so that what follows can clean up."""
        self._obeyed = False

    def pause(self, seconds: float) -> None:
        """Wait so long; raises Interrupted as soon as a signal has come, also with 0 seconds."""
        deadline = time.monotonic() + seconds
        while True:
            if self._number is not None and self._obeyed:
                raise Interrupted(f"ended by {signal.Signals(self._number).name}: run the same step again")
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return
            time.sleep(min(left_s, _LOOK_S))

    def _note(self, number: int, _frame: object) -> None:
        self._number = number
