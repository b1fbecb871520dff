"""Real processes in tests: started, awaited with a deadline, their output kept, and always reaped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Self

import psutil

PATIENCE_S = 120.0
"""How long a test waits for what is to happen at once on an idle machine. Less than pytest's own limit for a test."""


def eventually(check: Callable[[], object], what: str, timeout_s: float = PATIENCE_S) -> None:
    """Return as soon as `check` is true; fail the test when it is not in time."""
    deadline = time.monotonic() + timeout_s
    while not check():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.02)


class Program:
    """`python -m MODULE FLAGS…`, or a script, with its standard output and error kept line by line.

    `within`: the command that it runs in, and becomes.
    """

    def __init__(self, *argv: str, environ: Mapping[str, str] | None = None, within: Sequence[str] = ()) -> None:
        target = argv if argv[0].endswith(".py") else ("-m", *argv)
        self.process = subprocess.Popen(
            [*within, sys.executable, *target],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environ or {})},
        )
        self.out: list[str] = []
        self.err: list[str] = []
        assert self.process.stdout is not None and self.process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read, args=pair, daemon=True)
            for pair in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in [*self.children(), self.process]:
            if child.is_running() if isinstance(child, psutil.Process) else child.poll() is None:
                child.kill()
        self.process.wait(10)

    @staticmethod
    def _read(stream: IO[str], lines: list[str]) -> None:
        for line in stream:
            lines.append(line.rstrip("\n"))

    def children(self, containing: str = "") -> list[psutil.Process]:
        """Its living descendants whose command line contains that text."""
        try:
            found = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return [child for child in found if containing in " ".join(command_line(child))]

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Its exit status; fails the test when it does not end in time, or printed a stack trace."""
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end within {timeout_s:g} s:\n{self.text()}") from None
        for reader in self._readers:
            reader.join(5)
        assert "Traceback" not in self.text(), self.text()
        return status

    def text(self) -> str:
        """All it has printed so far."""
        return "\n".join([*self.err, *self.out])


def command_line(process: psutil.Process) -> list[str]:
    """A process's argv, empty when it is gone."""
    try:
        found: list[str] = process.cmdline()
        return found
    except psutil.Error:
        return []
