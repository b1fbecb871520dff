"""A log line as JSON, in the form that one program writes and another reads: how Airflow gets our logs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Self

LINE_BYTES = 4096
"""With its end. Processes that share a pipe never mix lines of at most PIPE_BUF bytes; see pipe(7)."""

_CUT = " … "


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What one log call said. `time` is ISO 8601 in UTC; `exception` is the stack trace, empty when there is none.

    `gives_up` tells the reason for which a program ends from the errors that it went on after.
    """

    time: str
    level: str
    logger: str
    message: str
    program: str
    scan_id: str
    exception: str = ""
    gives_up: bool = False

    def line(self) -> str:
        """As one line of JSON in ASCII, of at most LINE_BYTES; what does not fit is cut out of the middle."""
        entry, limit = self, LINE_BYTES
        while len(line := entry._json()) >= LINE_BYTES:
            limit //= 2
            entry = replace(
                self, message=_shortened(self.message, limit // 2), exception=_shortened(self.exception, limit)
            )
        return line

    @classmethod
    def parse(cls, line: str) -> Self | None:
        """The inverse of line(); None for a line that is something else."""
        if not line.startswith("{"):
            return None
        try:
            document = json.loads(line)
            entry = cls(**document)
        except (ValueError, TypeError, RecursionError):
            return None
        kinds_fit = all(
            type(getattr(entry, field.name)) is type(getattr(_EMPTY, field.name)) for field in fields(entry)
        )
        return entry if kinds_fit else None

    def _json(self) -> str:
        return json.dumps({name: value for name, value in asdict(self).items() if value or name in _ALWAYS})


_EMPTY = LogEntry("", "", "", "", "", "")
_ALWAYS = ("time", "level", "logger", "message", "program", "scan_id")


def _shortened(text: str, limit: int) -> str:
    """A stack trace begins with who called and ends with what went wrong, so both ends are kept, more of the latter."""
    if len(text) <= limit:
        return text
    head = limit // 3
    return text[:head] + _CUT + text[len(text) - (limit - head - len(_CUT)) :]
