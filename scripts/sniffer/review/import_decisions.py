"""`sniffer review import`: decisions that were made in another program come back."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import SettingsError
from sniffer.core.parser import Parser
from sniffer.core.program import Program, ProgramResult
from sniffer.core.review_records import ImportedDecision, ImportReport
from sniffer.core.settings import MIB, database_settings
from sniffer.core.text import one_line
from sniffer.review.imports import decisions_of_csv, decisions_of_label_studio

_MOST_BYTES = 256 * MIB
_SHOWN = 20


def read_decisions(path: Path, reviewer: str) -> list[ImportedDecision]:
    """The decisions of that file, by the end of its name; SettingsError names what is wrong with it."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise SettingsError(f"{path} is over {_MOST_BYTES // MIB} MiB: split it")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8: save it as UTF-8") from error
    read = decisions_of_label_studio if path.suffix.lower() == ".json" else decisions_of_csv
    try:
        return read(text, reviewer=reviewer)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def _add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="a table (.csv) that was exported and filled in, or Label Studio's .json",
    )
    parser.add_argument(
        "--reviewer", default="", metavar="NAME", help="who has decided, where the file does not say so"
    )


def _run(arguments: argparse.Namespace) -> ProgramResult:
    decisions = read_decisions(arguments.file, arguments.reviewer)
    key = hashlib.sha256(repr(sorted(decisions, key=lambda each: each.image_id)).encode()).hexdigest()
    with Database(database_settings()) as database:
        database.check()
        report = database.review_decisions.add_imported(decisions, submit_key=key)
    return ProgramResult(report, _told(report), status=1 if report.refused else 0, problem=_problem(report))


def _told(report: ImportReport) -> str:
    lines = [f"{report.added:,} decisions are stored, {report.unchanged:,} were there already"]
    if report.refused:
        lines.append(f"{_problem(report)}:")
        lines += [f"  {one_line(each)}" for each in report.refused[:_SHOWN]]
    return "\n".join(lines)


def _problem(report: ImportReport) -> str:
    return f"{len(report.refused):,} are not stored" if report.refused else ""


PROGRAM = Program(
    command="sniffer review import",
    summary="Store decisions that were made in another program: a table as `sniffer review export` writes it, with "
    "the columns decision, reason, note and reviewer filled in, or an export of Label Studio. Rows without a decision "
    "are passed over. The same file may be read again: what its reviewer has decided already stays as it is, and what "
    "has changed corrects it.",
    run=_run,
    add_arguments=_add_arguments,
    examples=("sniffer review import queue.csv --reviewer 'J. Doe'", "sniffer review import project-7.json"),
    environment=("SNIFFER_DATABASE_URL", "SNIFFER_DATABASE_PATIENCE_S", "SNIFFER_LOG_FORMAT"),
    hands_on=True,
    has_text=True,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
