"""`sniffer discard`: what a held scan has scored is deleted, by a person's decision, so that it is scored again."""

from __future__ import annotations

import argparse
import sys

from sniffer.adapters.mysql.database import Database
from sniffer.core.parser import Parser, positive
from sniffer.core.program import Program, ProgramResult
from sniffer.core.settings import database_settings
from sniffer.core.text import printable
from sniffer.scan.deciding import ENVIRONMENT, add_decision_flags, deciding


def _add_arguments(parser: Parser) -> None:
    add_decision_flags(parser)
    parser.add_argument("--batch-rows", type=positive, default=1000, metavar="N", help="rows in one transaction")


def _run(arguments: argparse.Namespace) -> ProgramResult:
    asked = deciding(arguments)
    with Database(database_settings()) as database:
        database.check()
        decided = database.holds.discard(asked, batch_rows=arguments.batch_rows)
    return ProgramResult(
        decided,
        f"scan {decided.scan_id} is discarded by {printable(decided.decided_by)}: {decided.results:,} scores are "
        "deleted; run it again with the same id to score these images again",
    )


PROGRAM = Program(
    command="sniffer discard",
    summary="Discard what a scan has scored that is held because its share of flagged images left the band of its "
    "bucket's past: its scores are deleted, and the scan, when it is run again with the same id, scores these images "
    "again; so for all shards of one that is held as a whole. Unreadable and failed images stay as they are. The table "
    "`hold_decisions` keeps who decided, when and why. It works in small batches and may be interrupted and run again; "
    "until it has ended, the scan stays held.",
    run=_run,
    add_arguments=_add_arguments,
    examples=("sniffer discard scan-20261120T000000-a1b2c3 --by 'J. Doe' --reason 'the model server was broken'",),
    environment=ENVIRONMENT,
    hands_on=True,
    has_text=True,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
