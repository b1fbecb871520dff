"""A program of ours that says things in every way a program can, as its flags want, in their order."""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable

from sniffer.core.errors import SettingsError, TransientError
from sniffer.core.parser import Parser
from sniffer.core.program import Program, ProgramResult

log = logging.getLogger("talkative.part")


def _complain_in_c() -> None:
    os.write(2, b"malloc(): corrupted top size\n")


def _thread_dies() -> None:
    thread = threading.Thread(target={}.__getitem__, args=("nothing",))
    thread.start()
    thread.join()


def _fault() -> None:
    import faulthandler

    faulthandler.enable()
    ctypes.string_at(0)


def _raise(error: Exception) -> None:
    raise error


def _fail() -> None:
    try:
        raise KeyError("a\nb")
    except KeyError as error:
        raise ValueError("no such thing") from error


def _logged() -> None:
    try:
        _fail()
    except ValueError:
        log.exception("it broke")


WAYS: dict[str, Callable[[], object]] = {
    "info": lambda: log.info("all is well"),
    "warn": lambda: log.warning("S3 is slow:\nERROR forged"),
    "error": lambda: log.error("one image is lost"),
    "error-with-trace": _logged,
    "python-warning": lambda: warnings.warn("old option", FutureWarning, stacklevel=1),
    "c": _complain_in_c,
    "print": lambda: print("to standard output", flush=True),
    "print-error": lambda: print("to standard error", file=sys.stderr),
    "fold": lambda: print("::group::hidden \x1b[2J", file=sys.stderr),
    "long": lambda: log.warning("a%sz", "x" * 1_000_000),
    "long-print": lambda: print("x" * 1_000_000, file=sys.stderr),
    "thread": _thread_dies,
    "raise": _fail,
    "transient": lambda: _raise(TransientError("MySQL at db:3306 does not answer")),
    "settings": lambda: _raise(SettingsError("bucket 'nope' does not exist")),
    "segfault": _fault,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
}


def _add_arguments(parser: Parser) -> None:
    parser.add_argument("--say", action="append", default=[], choices=WAYS)
    parser.add_argument("--status", type=int, default=0)


def _run(arguments: argparse.Namespace) -> ProgramResult:
    for way in arguments.say:
        WAYS[way]()
    problem = "the certificate does not hold: 3 failed" if arguments.status else ""
    return ProgramResult({"done": True}, "verdict\n  all of it", arguments.status, problem)


PROGRAM = Program("sniffer talk", "Talk.", _run, _add_arguments, hands_on=True, has_text=True)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
