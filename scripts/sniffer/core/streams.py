"""Standard output and error as programs find them: closed, full, of another encoding, with a reader that is gone."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys

from sniffer.core.redaction import hide

log = logging.getLogger(__name__)


def mend_streams() -> None:
    """Make sure that whatever is printed goes somewhere, and nowhere else: call it before anything is opened.

    A closed descriptor would be the next file's or connection's, and what a library prints would go into it.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    sys.stdout = sys.stdout or _devnull()
    sys.stderr = sys.stderr or _devnull()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def speak_utf8() -> None:
    """Start this process again with UTF-8 when the locale has another encoding: keys, flags and paths need more.

    Python does so itself for the locales C and POSIX, unless it is told not to.
    """
    if sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1":
        return
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def show(text: str) -> None:
    """Print to standard output, without secrets.

    Whoever reads it may have seen enough, and a full disk spoils no work that is done.
    """
    try:
        print(hide(text), flush=True)
    except BrokenPipeError:
        _drop_output()
    except (OSError, ValueError) as error:
        _drop_output()
        log.warning("the result cannot be printed: %s", error)


def flush() -> None:
    """Write out what is buffered, as the end of a process would, but without its complaints."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            if stream is sys.stdout:
                _drop_output()


def _drop_output() -> None:
    """What is left in the buffer must not fail again when Python ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _devnull() -> io.TextIOWrapper:
    return open(os.devnull, "w", encoding="utf-8")
