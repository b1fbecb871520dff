"""Logging of every program, configured in one place: one line an event, to standard error, in UTC."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import Any, TextIO

from sniffer.core.errors import SettingsError
from sniffer.core.log_entries import LogEntry
from sniffer.core.redaction import hide
from sniffer.core.text import one_line, printable
from sniffer.core.variables import LOG_FORMAT

TEXT, JSON = LOG_FORMATS = ("text", "json")
_TIME = "%Y-%m-%dT%H:%M:%S"
_GIVES_UP = "gives_up"
"""Attribute of a log record; see LogEntry."""

log = logging.getLogger(__name__)


def add_log_format_flag(parser: argparse._ActionsContainer) -> None:
    """Add `--log-format`, which configure_logging takes."""
    parser.add_argument(
        "--log-format",
        choices=LOG_FORMATS,
        help=f"form of the log on standard error (default: {LOG_FORMAT.name}, else {TEXT})",
    )


class _JsonFormatter(logging.Formatter):
    """One LogEntry a line."""

    def __init__(self, program: str, scan_id: str) -> None:
        super().__init__()
        self._program = program
        self._scan_id = scan_id

    def format(self, record: logging.LogRecord) -> str:
        return LogEntry(
            time=f"{time.strftime(_TIME, time.gmtime(record.created))}.{int(record.msecs):03}Z",
            level=record.levelname,
            logger=_module_of(record.name),
            message=hide(record.getMessage().rstrip()),
            program=self._program,
            scan_id=self._scan_id,
            exception=hide(self.formatException(record.exc_info)) if record.exc_info else "",
            gives_up=getattr(record, _GIVES_UP, False),
        ).line()


class _TextFormatter(logging.Formatter):
    """A line for people, without secrets. No part of it, nor of a stack trace, can pass for another line of the log."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = printable(hide(record.message))
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        return "\n".join(f"  {printable(line)}" for line in hide(super().formatException(ei)).splitlines())


def _module_of(logger: str) -> str:
    """The logger's module. The one that `python -m` runs calls itself __main__, which would tell nobody anything."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if logger == "__main__" and spec is not None else logger


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to whatever standard error is at that moment: a progress bar puts itself in its place."""

    def __init__(self, log_format: str) -> None:
        logging.Handler.__init__(self)
        self.log_format = log_format

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def configure_logging(
    program: str, scan_id: str = "-", *, log_format: str | None = None, environ: Mapping[str, str] = os.environ
) -> None:
    """Send log lines `time level program [scan_id] message`, or JSON objects, to standard error.

    Safe to call again with a scan id: the form stays. It is the argument, else SNIFFER_LOG_FORMAT, else text.
    """
    root = logging.getLogger()
    handler = _Handler(log_format or _current_format(root) or _format_of(environ))
    handler.setFormatter(_formatter(handler.log_format, program, scan_id))
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for chatty in ("botocore", "boto3", "urllib3", "PIL"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    _log_uncaught_errors()


def logs_are_json() -> bool:
    """Whether log lines are JSON objects."""
    return _current_format(logging.getLogger()) == JSON


def complain(command: str, text: str, environ: Mapping[str, str] = os.environ) -> None:
    """Say on standard error why the command gives up: a line for people, or an ERROR of the log where that is JSON.

    Works before configure_logging(), too.
    """
    root = logging.getLogger()
    if _current_format(root) is None and LOG_FORMAT.read(environ) == JSON:
        configure_logging(program_name(command), log_format=JSON)
    if logs_are_json():
        log.error("%s", text, extra={_GIVES_UP: True})
    else:
        print(f"{command}: {printable(hide(text))}", file=sys.stderr)


def last_words(command: str, text: str) -> None:
    """The same for a process that is about to end itself, from any thread: it waits for no lock and no reader."""
    if logs_are_json():
        record = logging.LogRecord(log.name, logging.ERROR, "", 0, text, None, None)
        setattr(record, _GIVES_UP, True)
        line = _formatter(JSON, program_name(command), "-").format(record)
    else:
        line = f"{command}: {printable(hide(text))}"
    if select.select([], [2], [], 0)[1]:
        with contextlib.suppress(OSError):
            os.write(2, f"{line}\n".encode())


def program_name(command: str) -> str:
    """What the log lines of a command call it."""
    return command.removeprefix("sniffer ").replace(" ", "-")


def _log_uncaught_errors() -> None:
    """What ends the process or one of its threads is one entry of the log, and not a heap of lines."""

    def log_at(level: int, kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        text = one_line(f"{kind.__name__}: {error}")
        gives_up = {_GIVES_UP: level == logging.ERROR}
        log.log(level, "%s", text, exc_info=(kind, error or kind(), trace), extra=gives_up)

    sys.excepthook = partial(log_at, logging.ERROR)
    threading.excepthook = lambda args: log_at(logging.ERROR, args.exc_type, args.exc_value, args.exc_traceback)
    # Such as in a destructor: the program goes on.
    sys.unraisablehook = lambda args: log_at(logging.WARNING, args.exc_type, args.exc_value, args.exc_traceback)


def _current_format(root: logging.Logger) -> str | None:
    return next((handler.log_format for handler in root.handlers if isinstance(handler, _Handler)), None)


def _format_of(environ: Mapping[str, str]) -> str:
    found = LOG_FORMAT.read(environ)
    if found not in LOG_FORMATS:
        raise SettingsError(f"{LOG_FORMAT.name} must be {' or '.join(LOG_FORMATS)}, not {found!r}")
    return found


def _formatter(log_format: str, program: str, scan_id: str) -> logging.Formatter:
    if log_format == JSON:
        return _JsonFormatter(program, scan_id)
    formatter = _TextFormatter(f"%(asctime)sZ %(levelname)s {program} [{scan_id}] %(message)s", _TIME)
    formatter.converter = time.gmtime
    return formatter
