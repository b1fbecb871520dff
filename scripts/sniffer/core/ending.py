"""SIGTERM and SIGINT end every program within seconds, also one that waits for what never answers.

The first signal asks: the program's own `stop`, or an exception in its main thread where it has none. A program that
not ended after its grace, since a call hangs in a foreign system, is ended from outside; a second signal does the same.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Self

from sniffer.core.logs import last_words
from sniffer.core.streams import flush

GRACE_S = 3.5
"""From the first signal to the end of a program. Airflow kills a task's processes after five seconds."""

SECOND_AFTER_S = 0.3
"""Signals that follow sooner belong to the first: Ctrl-C reaches a whole process group, and parents tell children."""

INTERRUPTED = 130
"""Exit status after SIGINT."""
NOT_DONE = 1
"""Exit status after SIGTERM."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Ended(BaseException):
    """Raised in the main thread when a signal ends a program that has no way of its own to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}: run it again to do what is left")
        self.number = number
        self.exit_status = status_after(number)


def status_after(number: int) -> int:
    """The exit status of a program that a signal has ended."""
    return INTERRUPTED if number == signal.SIGINT else NOT_DONE


class Ending:
    """Listens to the signals while the program runs. A context manager for the main thread; elsewhere it does nothing.

    Without `grace_s` nothing watches from outside: for a program whose main thread never waits for long.
    """

    _current: Ending | None = None

    def __init__(self, command: str, grace_s: float | None = GRACE_S) -> None:
        self._command = command
        self._grace_s = grace_s
        self._stop: Callable[[], None] | None = None
        self._number = 0
        self._first_at = 0.0
        self._before: dict[int, object] = {}
        self._watch: _Watch | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread() or Ending._current is not None:
            return self
        Ending._current = self
        if self._grace_s is not None:
            self._watch = _Watch(self._command, self._grace_s)
        for number in _SIGNALS:
            # Ignored by whoever started us, as `nohup` and a fleet's parent do: it stays so.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if Ending._current is not self:
            return
        Ending._current = None
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        if self._watch is not None:
            self._watch.close()

    def leave(self, status: int) -> int:
        """The exit status to return. After a signal it ends the process here: threads that hang are not waited for."""
        signalled = self._number or (self._watch is not None and self._watch.first)
        if signalled and Ending._current is self:
            flush()
            os._exit(status)
        return status

    def _note(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self._number:
            self._number, self._first_at = number, now
            if self._stop is None:
                raise Ended(number)
            self._stop()
        elif now - self._first_at > SECOND_AFTER_S:
            os._exit(status_after(number))

    @classmethod
    @contextlib.contextmanager
    def by(cls, stop: Callable[[], None]) -> Iterator[None]:
        """Within this block the first signal calls `stop`, in the main thread, instead of raising Ended.

        When it has come before, which some block before this one has heard, `stop` is called at once.
        """
        ending = cls._current
        if ending is None:
            yield
            return
        before, ending._stop = ending._stop, stop
        try:
            if ending._number:
                stop()
            yield
        finally:
            ending._stop = before


class _Watch:
    """A thread that ends the process when it does not end by itself. Python's own handlers wait for the main thread."""

    def __init__(self, command: str, grace_s: float) -> None:
        self._command = command
        self._grace_s = grace_s
        self.first = 0
        self._wakeup, self._woken = socket.socketpair()
        self._wakeup.setblocking(False)
        self._before = signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._run, name="ending", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Watch no more."""
        signal.set_wakeup_fd(self._before)
        self._wakeup.close()
        self._thread.join()
        self._woken.close()

    def _run(self) -> None:
        first = self._next(None)
        if first is None:
            return
        self.first = first
        first_at = time.monotonic()
        while (left_s := first_at + self._grace_s - time.monotonic()) > 0:
            number = self._next(left_s)
            if number is None:
                return
            if number and time.monotonic() - first_at > SECOND_AFTER_S:
                os._exit(status_after(number))
        last_words(
            self._command,
            f"not ended {self._grace_s:g} s after {signal.Signals(first).name}, since something does not answer: ended "
            "at once; run it again to do what is left",
        )
        os._exit(status_after(first))

    def _next(self, timeout_s: float | None) -> int | None:
        """The next signal to end, 0 when none came in time, None when there is nothing to watch any more."""
        while select.select([self._woken], [], [], timeout_s)[0]:
            found = self._woken.recv(1)
            if not found:
                return None
            if found[0] in _SIGNALS:
                return found[0]
        return 0
