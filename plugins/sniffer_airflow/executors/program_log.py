"""What a program writes, as records for Airflow's log: its own JSON lines by their level, anything else as it makes
sense; and why it gave up, in one line.

In: lines of a program's output. Out: records in the task's log.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sniffer.core.log_entries import LogEntry
from sniffer.core.logs import JSON
from sniffer.core.redaction import KnownSecrets
from sniffer.core.text import one_line
from sniffer.core.variables import LOG_FORMAT

LOG_ENVIRON = {LOG_FORMAT.name: JSON}
"""What a program is given so that its log can be read here."""

_LEVELS = {name: logging.getLevelNamesMapping()[name] for name in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_FOLD = re.compile(r"::(?=(end)?group::)")
"""How Airflow's log viewer opens and closes a fold."""

_GLOG = re.compile(r"([IWEF])\d{4} \d\d:\d\d:")
"""How a line of Google's C++ libraries begins, such as TensorFlow's."""
_GLOG_LEVELS = {"I": logging.INFO, "W": logging.WARNING, "E": logging.WARNING, "F": logging.ERROR}
"""TensorFlow calls it an error that there is no GPU; of what ends the program, Python or the signal tells."""

_BLOCK_STARTS = ("Traceback (most recent call last)", "Fatal Python error:")
_BLOCK_LINES = 200
_MESSAGE_CHARS = 1000


@dataclass(frozen=True)
class LogLine:
    """One record for Airflow's log. `error` is what it says in one line; `rank` tells reasons to end from others."""

    text: str
    level: int
    error: str = ""
    rank: int = 0
    time: str | None = None
    logger: str | None = None


_PLAIN, _ERROR, _GAVE_UP = 1, 2, 3


class LineReader:
    """Makes records of the lines of one stream. `plain_level` is that of lines that are not our log's.

    A stack trace that Python printed itself is one record, at ERROR; it ends with the next log line, or by flush().
    """

    def __init__(self, plain_level: int) -> None:
        self._plain_level = plain_level
        self._block: list[str] = []

    def read(self, line: str) -> Iterator[LogLine]:
        """The records that this line completes."""
        line = line.rstrip()
        if entry := LogEntry.parse(line):
            yield from self.flush()
            yield _record_of(entry)
        elif self._block or any(start in line for start in _BLOCK_STARTS):
            self._block.append(line)
            if len(self._block) >= _BLOCK_LINES:
                yield from self.flush()
        elif line:
            found = _GLOG.match(line)
            level = _GLOG_LEVELS[found[1]] if found else self._plain_level
            yield LogLine(line, level, line, _PLAIN if level > logging.INFO else 0)

    def flush(self) -> Iterator[LogLine]:
        """What is still held back, when nothing comes for a while."""
        if self._block:
            lines, self._block = self._block, []
            yield LogLine("\n".join(lines), logging.ERROR, _error_of(lines), _GAVE_UP)


class ProgramLog:
    """Writes a program's records to the log of its task, without secrets, and remembers why it gave up."""

    def __init__(self, log: Any, secrets: KnownSecrets | None = None) -> None:
        self._log = log
        self._secrets = secrets or KnownSecrets()
        self._said: dict[int, str] = {}

    def write(self, records: Iterator[LogLine]) -> None:
        """Write them, in the order of the program's output."""
        for record in records:
            self._remember(record)
            # Airflow masks the task's log; the exception goes further.
            more = {name: value for name, value in (("timestamp", record.time), ("logger", record.logger)) if value}
            self._log.log(record.level, "%s", _printable(self._secrets.hide(record.text)), **more)

    def reason(self) -> str | None:
        """Why the program gave up, in its own words on one line; None when it wrote nothing that looks like it."""
        return self._said[max(self._said)] if self._said else None

    def _remember(self, record: LogLine) -> None:
        if record.rank and record.error:
            text = self._secrets.hide(record.error)
            self._said[record.rank] = one_line(_printable(text), _MESSAGE_CHARS)


def _record_of(entry: LogEntry) -> LogLine:
    level = _LEVELS.get(entry.level, logging.INFO)
    text = f"{entry.program}: {entry.message}" + (f"\n{entry.exception}" if entry.exception else "")
    rank = _GAVE_UP if entry.gives_up else _ERROR if level >= logging.ERROR else 0
    return LogLine(text, level, entry.message, rank, entry.time, entry.logger)


def _error_of(lines: Sequence[str]) -> str:
    """The line of a stack trace that names the exception: the first after the last frame."""
    if _BLOCK_STARTS[0] not in lines[0]:
        return lines[0]
    for number in range(len(lines) - 1, 0, -1):
        if lines[number - 1].startswith(" ") and lines[number] and not lines[number].startswith(" "):
            return lines[number]
    return lines[0]


def _printable(text: str) -> str:
    """The text without what a terminal or Airflow's log viewer would obey."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", _FOLD.sub(":", text))
