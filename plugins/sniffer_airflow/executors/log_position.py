"""How far a container's log has been read: after a break Kubernetes is asked for the last seconds once more.

In: lines with Kubernetes's time. Out: those that were not read before; none comes twice, none is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|[+-]\d\d:\d\d) ")
"""The time that Kubernetes puts before each line."""


class LogPosition:
    """The time of the last whole line that was read, and how many of that very time."""

    def __init__(self) -> None:
        self._last = b""
        self._count = 0

    def unread(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The lines of one more look at the log, from the first that was not read before."""
        last, count = self._last, self._count
        is_new = not last
        for line in lines:
            stamp = _stamp(line)
            if not is_new and stamp is not None:
                count -= stamp == last
                is_new = stamp > last or (stamp == last and count < 0)
            if not is_new:
                continue
            # A line that was cut off comes again as a whole.
            if stamp is not None and line.endswith(b"\n"):
                self._count = self._count + 1 if stamp == self._last else 1
                self._last = stamp
            yield line


def _stamp(line: bytes) -> bytes | None:
    """The line's time in a form that sorts; None for a line without one, which belongs to the one before."""
    found = _STAMP.match(line)
    return found[1] + b"." + (found[2] or b"").ljust(9, b"0") if found else None
