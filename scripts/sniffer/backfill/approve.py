"""`sniffer approve`: a person lets a plan be scanned, at its estimate."""

from __future__ import annotations

import argparse
import sys

from sniffer.adapters.mysql.database import Database
from sniffer.core.estimate_records import Approving
from sniffer.core.flag_records import Deciding
from sniffer.core.parser import Parser
from sniffer.core.program import Program, ProgramResult
from sniffer.core.settings import database_settings
from sniffer.core.text import printable
from sniffer.scan.request import scan_id


def _add_arguments(parser: Parser) -> None:
    parser.add_argument("scan_id", type=scan_id, metavar="SCAN_ID", help="the scan that was estimated")
    parser.add_argument(
        "--digest", required=True, metavar="TEXT", help="that of the estimate, so that no other is approved by mistake"
    )
    parser.add_argument("--by", required=True, metavar="NAME", help="who approves, for the record")
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why, for the record")


def _run(arguments: argparse.Namespace) -> ProgramResult:
    asked = Deciding(arguments.scan_id, arguments.by, arguments.reason)
    with Database(database_settings()) as database:
        database.check()
        approving = Approving(asked.scan_id, arguments.digest, asked.by, asked.reason)
        stored = database.estimates.approve(approving)
    by = printable(stored.approved_by or "the limits of whoever asked for it")
    return ProgramResult(stored, f"scan {asked.scan_id} is approved by {by}: scan its shards")


PROGRAM = Program(
    command="sniffer approve",
    summary="Approve a stored plan at its estimate, which `sniffer estimate --growth` has made wait for that: its "
    "shards may be scanned from now on. The table `estimates` keeps who approved what, when and why. In Airflow it "
    "is asked for under Required Actions.",
    run=_run,
    add_arguments=_add_arguments,
    examples=("sniffer approve archive-1 --digest 3f0a… --by 'J. Doe' --reason 'ticket 812'",),
    environment=("SNIFFER_DATABASE_URL", "SNIFFER_DATABASE_PATIENCE_S", "SNIFFER_LOG_FORMAT"),
    hands_on=True,
    has_text=True,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
