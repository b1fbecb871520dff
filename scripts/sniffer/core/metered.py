"""Answers over HTTP as they come from the socket, within bounds of bytes and time: from the first byte of the head on.

A client's own time limit is for each piece alone, and `http.client` reads heads, continuations and trailers for as long
as they come.
"""

from __future__ import annotations

import io
import math
import time
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

DRIP_GRACE_S = 30.0
SLOWEST_BYTES_PER_S = 4096.0
"""After the grace, an answer that comes more slowly than this is left."""
MOST_HEAD_BYTES = 1 << 20
"""Of status line and headers, which are of some kilobytes."""


@dataclass(frozen=True, slots=True)
class AnswerBounds:
    """What may come in for one answer, in all; None for no bound but that it must not drip."""

    wire_bytes: int | None = None
    duration_s: float | None = None

    @classmethod
    def of_body(cls, body_bytes: int) -> AnswerBounds:
        """For a body of that length, with its head and the lengths of its chunks."""
        return cls(MOST_HEAD_BYTES + body_bytes + body_bytes // 8)


class OutOfBounds(HTTPException):
    """Raised while an answer comes in, when it is too long or too slow."""


class Meter(io.RawIOBase):
    """What a socket gives, until it was too much or comes too slowly: then OutOfBounds."""

    def __init__(self, inner: io.RawIOBase, bounds: AnswerBounds) -> None:
        self._inner = inner
        self.bounds = bounds
        self._received_bytes = 0
        self._began_at: float | None = None

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """As a socket's."""
        count = self._inner.readinto(buffer)
        now = time.monotonic()
        # The time to the first byte is that of the server's work, and has the client's own limit.
        self._began_at = now if self._began_at is None else self._began_at
        self._received_bytes += count or 0
        if count:
            self._check(now - self._began_at)
        return count

    def _check(self, lasted_s: float) -> None:
        received_bytes, most_bytes, most_s = self._received_bytes, self.bounds.wire_bytes, self.bounds.duration_s
        if most_bytes is not None and received_bytes > most_bytes:
            raise OutOfBounds(f"an answer that goes on after {received_bytes} bytes")
        if received_bytes < (lasted_s - DRIP_GRACE_S) * SLOWEST_BYTES_PER_S or lasted_s > (most_s or math.inf):
            raise OutOfBounds(f"an answer that drips: {received_bytes} bytes in {lasted_s:.0f} s")

    def fileno(self) -> int:
        """The socket's."""
        return self._inner.fileno()

    def close(self) -> None:
        """With what it reads from."""
        if not self.closed:
            self._inner.close()
            super().close()


class MeteredAnswer:
    """Mixed into `http.client.HTTPResponse`, which makes its `fp` of the socket and reads the head in `begin`."""

    fp: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._meter = Meter(self.fp.detach(), self.head_bounds())
        self.fp = io.BufferedReader(self._meter)

    def begin(self) -> None:
        """Read the head."""
        super().begin()  # type: ignore[misc]
        self._meter.bounds = self.body_bounds()

    def head_bounds(self) -> AnswerBounds:
        """Of the head."""
        return AnswerBounds(MOST_HEAD_BYTES)

    def body_bounds(self) -> AnswerBounds:
        """Of head and body together."""
        return AnswerBounds()
