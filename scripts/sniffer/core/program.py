"""The shell of every program: parse the flags, configure the logs, run, print the result, and map errors to a status.

Exit status: 0 done; 1 not done, and the same command may succeed later; 2 wrong usage, settings or rights;
130 interrupted from the keyboard.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sniffer.core.ending import GRACE_S, INTERRUPTED, Ended, Ending
from sniffer.core.errors import SettingsError, SnifferError
from sniffer.core.files import check_writable, write_json
from sniffer.core.json_records import json_values
from sniffer.core.logs import add_log_format_flag, complain, configure_logging, logs_are_json, program_name
from sniffer.core.parser import WIDTH, Parser
from sniffer.core.redaction import KNOWN
from sniffer.core.settings import SETTINGS
from sniffer.core.streams import flush, mend_streams, show, speak_utf8
from sniffer.core.variables import RESULT_OF

RESULT_MARK = "result_of"
"""Under which a result names the task of Airflow's that it was made for."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProgramResult:
    """What a program found: a record, as JSON for machines, and text for people. Without a text JSON is for both.

    `problem` says in one line why the status is not 0; the text says it, too.
    """

    record: object
    text: str = ""
    status: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Program:
    """A program: how it is called, what its help says, and what it does.

    `run` gets the parsed flags and returns its result, or an exit status when it has nothing to hand on. `environment`
    names the variables that it reads. `extra` is the extra of the distribution that brings its packages. With
    `hands_on`, it has the flag --result FILE; `failure` makes the record that is written there after an error. A signal
    ends it within `grace_s`; None: it ends in time by itself.
    """

    command: str
    summary: str
    run: Callable[[argparse.Namespace], ProgramResult | int]
    add_arguments: Callable[[Parser], None] = lambda _: None
    examples: Sequence[str] = ()
    environment: Sequence[str] = ()
    extra: str = "fleet"
    hands_on: bool = False
    has_text: bool = False
    failure: Callable[[argparse.Namespace, SnifferError], object] | None = None
    grace_s: float | None = GRACE_S

    @property
    def name(self) -> str:
        """What log lines call it."""
        return program_name(self.command)

    def parser(self) -> Parser:
        """Its parser, with the flags that every program has."""
        parser = Parser(self.command, description=self.summary, epilog=self._epilog())
        self.add_arguments(parser)
        out = parser.add_argument_group("output")
        if self.hands_on:
            out.add_argument("--result", type=Path, metavar="FILE", help="write the result there as JSON, too")
        if self.has_text:
            out.add_argument("--json", action="store_true", help="print the result as JSON, and nothing else")
        add_log_format_flag(out)
        return parser

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Run the program on these words, by default those of the process; returns the exit status."""
        if argv is None:
            # What was imported stays, and is no work of the garbage collector any more: a tenth of a short scan's CPU.
            gc.freeze()
            speak_utf8()
        mend_streams()
        KNOWN.learn_environment(os.environ)
        KNOWN.learn_words(sys.argv[1:] if argv is None else argv)
        with Ending(self.command, self.grace_s) as ending:
            try:
                status = self._main(argv)
            except Ended as error:
                complain(self.command, str(error))
                status = error.exit_status
            finally:
                flush()
            return ending.leave(status)

    def _main(self, argv: Sequence[str] | None) -> int:
        try:
            arguments = self.parser().parse_args(argv)
            configure_logging(self.name, log_format=arguments.log_format)
            return self._run(arguments)
        except SnifferError as error:
            complain(self.command, str(error))
            return error.exit_status
        except ModuleNotFoundError as error:
            complain(self.command, missing_package(error, self.extra))
            return SettingsError.exit_status
        except KeyboardInterrupt:
            complain(self.command, "interrupted")
            return INTERRUPTED

    def _run(self, arguments: argparse.Namespace) -> int:
        path: Path | None = arguments.result if self.hands_on else None
        if path is not None:
            check_writable(path)
        try:
            result = self.run(arguments)
        except SnifferError as error:
            if path is not None and self.failure is not None:
                _hand_on(path, self.failure(arguments, error))
            raise
        if isinstance(result, int):
            return result
        if path is not None:
            _hand_on(path, result.record)
        self._show(result, arguments)
        return result.status

    def _show(self, result: ProgramResult, arguments: argparse.Namespace) -> None:
        """Print the result; where another program reads the log and the file, it is in the log."""
        wants_json = self.has_text and arguments.json
        text = result.text if result.text and not wants_json else json.dumps(json_values(result.record))
        if logs_are_json() and self.hands_on and arguments.result is not None and not wants_json:
            for line in text.splitlines():
                log.info("%s", line)
        else:
            show(text)
        if result.problem and logs_are_json():
            complain(self.command, result.problem)

    def _epilog(self) -> str:
        parts = []
        if self.examples:
            parts.append("\n".join(["examples:", *(f"  {example}" for example in self.examples)]))
        if self.environment:
            parts.append("\n".join(["environment:", *_environment_lines(self.environment)]))
        parts.append("exit status: 0 done; 1 not done, run it again later; 2 wrong usage, settings or rights")
        return "\n\n".join(parts)


def _hand_on(path: Path, record: object) -> None:
    """Write what the program found, which is also printed: that it cannot be written undoes nothing of it.

    Where a task of Airflow's waits for it, marked with that task, which takes no other's.
    """
    values, made_for = json_values(record), RESULT_OF.read(os.environ)
    if made_for and isinstance(values, dict):
        values |= {RESULT_MARK: made_for}
    try:
        write_json(path, values)
    except SettingsError as error:
        log.warning("--result: %s", error)


def missing_package(error: ModuleNotFoundError, extra: str) -> str:
    """One line for a package that is not installed; raises the error again when it is one of our own modules."""
    package = (error.name or "").partition(".")[0]
    if not package or package.startswith("sniffer"):
        raise error
    return f"it needs the package {package}, which is not installed here: pip install 'sniffer-bot[{extra}]'"


def _environment_lines(names: Sequence[str]) -> list[str]:
    meanings = {setting.name: setting.line() for setting in SETTINGS}
    width = max(len(name) for name in names) + 4
    return [
        textwrap.fill(
            meanings[name],
            WIDTH,
            initial_indent=f"  {name}".ljust(width),
            subsequent_indent=" " * width,
            break_on_hyphens=False,
        )
        for name in names
    ]
