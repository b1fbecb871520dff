"""A program of ours as a process on this machine: started under its supervisor, read by lines, stopped with its
children.

In: command and environment. Out: lines of its output, and its exit status.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

SUPERVISOR = Path(__file__).with_name("supervisor.py")

GRACE_S = 3.0
"""From SIGTERM to SIGKILL. Airflow kills a task 5 s after on_kill; the fleet loses nothing by SIGKILL."""

_EXIT_PATIENCE_S = GRACE_S + 12.0
_READ_BYTES = 1 << 16
_LINE_BYTES = 1 << 14


@dataclass(frozen=True)
class Line:
    """One line of output, without its end."""

    text: str
    is_error_stream: bool


class ProgramProcess:
    """A running program; a context manager whose end leaves no process of it behind. For one thread.

    Started from the main thread only: the kernel's parent-death signal watches the thread that started the supervisor.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], *, grace_s: float = GRACE_S) -> None:
        self._command = [sys.executable, "-I", "-S", str(SUPERVISOR), str(os.getpid()), str(grace_s), *command]
        self._environ = dict(environ)
        self._selector = selectors.DefaultSelector()
        self._supervisor: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        supervisor = subprocess.Popen(
            self._command,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._supervisor = supervisor
        for pipe, is_error_stream in ((supervisor.stdout, False), (supervisor.stderr, True)):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                self._selector.register(pipe, selectors.EVENT_READ, _LineBuffer(is_error_stream))
        # Becomes readable when the supervisor ends, so that nobody waits for a program that is done.
        self._ended_fd = os.pidfd_open(supervisor.pid)
        self._selector.register(self._ended_fd, selectors.EVENT_READ)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._supervisor is not None:
            self._await_end(self._supervisor)
            for pipe in (self._supervisor.stdout, self._supervisor.stderr):
                if pipe is not None:
                    pipe.close()
            os.close(self._ended_fd)
        self._selector.close()

    @property
    def exit_status(self) -> int | None:
        """The program's exit status (128 + n after signal n), None while it or anything it started runs."""
        status = None if self._supervisor is None else self._supervisor.poll()
        return 128 - status if status is not None and status < 0 else status

    def stop(self) -> None:
        """Ask for the end and return at once: SIGTERM now, SIGKILL to all that is left after the grace.

        Safe in a signal handler and when repeated. The supervisor carries it out even if we die meanwhile.
        """
        if self._supervisor is not None:
            self._supervisor.terminate()

    def lines(self, timeout_s: float) -> Iterator[Line]:
        """What was written since the last call; waits at most that long for something to be, or for the end."""
        for key, _ in self._selector.select(timeout_s):
            if key.data is None:
                continue
            chunk = _read_chunk(key.fd)
            if chunk:
                yield from key.data.add(chunk)
            elif chunk == b"":
                self._selector.unregister(key.fileobj)
                yield from key.data.flush()

    def rest(self) -> Iterator[Line]:
        """What is left in the pipes of a program that has ended, unfinished lines included."""
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                while chunk := _read_chunk(key.fd):
                    yield from key.data.add(chunk)
                yield from key.data.flush()

    @staticmethod
    def _await_end(supervisor: subprocess.Popen[bytes]) -> None:
        try:
            supervisor.wait(_EXIT_PATIENCE_S)
        except subprocess.TimeoutExpired:
            supervisor.kill()  # its program dies with it, by the kernel's parent-death signal
            supervisor.wait()


def _read_chunk(fd: int) -> bytes | None:
    """What is in the pipe now: None when there is nothing yet, empty when nothing will come any more."""
    try:
        return os.read(fd, _READ_BYTES)
    except BlockingIOError:
        return None


class _LineBuffer:
    """Cuts one stream into lines; a line without end is cut at a limit, so memory is bounded."""

    def __init__(self, is_error_stream: bool) -> None:
        self._is_error_stream = is_error_stream
        self._partial = b""

    def add(self, data: bytes) -> Iterator[Line]:
        *complete, self._partial = (self._partial + data).split(b"\n")
        for raw in complete:
            yield self._line(raw)
        if len(self._partial) > _LINE_BYTES:
            yield from self.flush()

    def flush(self) -> Iterator[Line]:
        if self._partial:
            raw, self._partial = self._partial, b""
            yield self._line(raw)

    def _line(self, raw: bytes) -> Line:
        return Line(raw.decode(errors="backslashreplace").rstrip(), self._is_error_stream)
