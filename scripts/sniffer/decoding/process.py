"""One decoder process, as its consumer sees it: started with nothing but a socket, asked, watched, and ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from sniffer.core.errors import TransientError, UnreadableImage
from sniffer.core.settings import ImageSettings
from sniffer.core.text import one_line
from sniffer.decoding.caged import CagedDecoder, DecoderDied, OverCpuLimit, OverMemoryLimit
from sniffer.decoding.frames import (
    AnswerKind,
    NotOurs,
    RenderedPicture,
    limit_silence,
    receive_answer,
    send_request,
)

PROGRAM = (sys.executable, "-P", "-m", "sniffer.decoding.child")
"""The decoder's command line but for its limits."""

START_S = 60.0
"""How long a decoder may take to start, on a machine that is busy."""
_DYING_S = 1.0
"""How long a process that has closed its connection may take to end by itself, with a status that says why."""
PATIENCE = 10.0
"""An image may take so many times its CPU seconds by the clock, since others want the cores too."""
_BUFFER_BYTES = 1 << 20
"""So that an ordinary file, and its pixels, pass without a pause; the kernel gives what it may."""
_KEPT = ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH")
"""What Python may need to start. The rest of the environment holds credentials."""
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}


def open_decoder(limits: ImageSettings, program: Sequence[str] = PROGRAM) -> CagedDecoder:
    """A decoder within these limits, whose processes run that program."""
    return CagedDecoder(lambda: DecoderProcess(limits, program), cpu_s=limits.decode_cpu_s)


class DecoderProcess:
    """A decoder process. It starts with the object, and is waited for when the first image comes."""

    def __init__(self, limits: ImageSettings, program: Sequence[str] = PROGRAM) -> None:
        self._limits = limits
        self._connection, theirs = socket.socketpair()
        for end in (self._connection, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        numbers = (os.getpid(), limits.decode_memory_bytes, limits.max_pixels, limits.max_bytes)
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        with theirs:
            # In a session of its own, so that Ctrl-C reaches the consumer alone.
            self._process = subprocess.Popen(
                [*program, *map(str, numbers)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=kept | _ONE_THREAD,
                start_new_session=True,
            )
        self._is_ready = False
        self._rendered = 0
        self._cpu_s = 0.0

    def render(self, body: bytes, cpu_s: float) -> RenderedPicture:
        """The picture in these bytes, for so many CPU seconds at most; raises as the protocol says."""
        self._await_start()
        limit_silence(self._connection, max(1.0, PATIENCE * cpu_s))
        try:
            send_request(self._connection, body, cpu_s)
            answer, pixels = receive_answer(self._connection)
        except (OSError, NotOurs) as error:
            raise self._death(error) from error
        spent_s, self._cpu_s = answer.cpu_s - self._cpu_s, answer.cpu_s
        self._rendered += 1
        match answer.kind:
            case AnswerKind.PICTURE:
                return RenderedPicture(pixels, answer.names, answer.is_partial, answer.size)
            case AnswerKind.UNREADABLE:
                raise UnreadableImage(answer.code, one_line(answer.message, 500))
            case AnswerKind.OUT_OF_MEMORY:
                why = f"decoding takes more than {self._limits.decode_memory_bytes:,} bytes of memory"
                raise OverMemoryLimit(why, spent_s, is_fresh=self._rendered == 1)
        raise DecoderDied(one_line(answer.message) or f"it said {answer.kind}", spent_s)

    def close(self) -> None:
        """End it, if it has not ended."""
        self._connection.close()
        if self._process.returncode is None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._reap()

    def _await_start(self) -> None:
        if self._is_ready:
            return
        limit_silence(self._connection, START_S)
        try:
            answer, _ = receive_answer(self._connection)
        except (OSError, NotOurs) as error:
            self._death(error)
            self.close()
            raise TransientError(f"the decoder process does not start: {_ending(self._process.returncode)}") from error
        self._cpu_s = answer.cpu_s
        self._is_ready = True

    def _death(self, error: Exception) -> DecoderDied:
        """What ended it."""
        if not isinstance(error, ConnectionError):
            os.kill(self._process.pid, signal.SIGKILL)
        spent_s = self._reap()
        if isinstance(error, BlockingIOError):
            return DecoderDied("it did not answer in time", spent_s)
        if isinstance(error, NotOurs):
            return DecoderDied(f"its answer makes no sense: {error}", spent_s)
        if self._process.returncode == -signal.SIGPROF:
            return OverCpuLimit("CPU limit", spent_s)
        return DecoderDied(_ending(self._process.returncode), spent_s)

    def _reap(self) -> float:
        """See it end, and hasten that if need be; returns the CPU seconds that it used for the last image."""
        until = time.monotonic() + _DYING_S
        gone, status, usage = os.wait4(self._process.pid, os.WNOHANG)
        while not gone:
            if time.monotonic() > until:
                os.kill(self._process.pid, signal.SIGKILL)
            time.sleep(0.005)
            gone, status, usage = os.wait4(self._process.pid, os.WNOHANG)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        return max(0.0, usage.ru_utime + usage.ru_stime - self._cpu_s)


def _ending(status: int | None) -> str:
    if status is not None and status < 0:
        return f"signal {-status} ({signal.Signals(-status).name})"
    return f"exit status {status}"
