"""`sniffer release`: what a held scan has flagged counts after all, by a person's decision."""

from __future__ import annotations

import argparse
import sys

from sniffer.adapters.mysql.database import Database
from sniffer.core.program import Program, ProgramResult
from sniffer.core.settings import database_settings
from sniffer.core.text import printable
from sniffer.scan.deciding import ENVIRONMENT, add_decision_flags, deciding


def _run(arguments: argparse.Namespace) -> ProgramResult:
    asked = deciding(arguments)
    with Database(database_settings()) as database:
        database.check()
        decided = database.holds.release(asked)
    left = "" if decided.is_finished else "; it had stopped early: run it again with the same id to do what is left"
    text = f"scan {decided.scan_id} is released by {printable(decided.decided_by)}; it was held since "
    return ProgramResult(decided, f"{text}{decided.held_for}{left}")


PROGRAM = Program(
    command="sniffer release",
    summary="Release a scan that is held because its share of flagged images left the band of its bucket's past: what "
    "it has flagged is seen from now on, and it counts as past for later scans; so for all shards of one that is held "
    "as a whole. The table `hold_decisions` keeps who decided, when and why. "
    "One that had stopped early is to be run again, and is not held again.",
    run=_run,
    add_arguments=add_decision_flags,
    examples=("sniffer release scan-20261120T000000-a1b2c3 --by 'J. Doe' --reason 'checked 50 of them'",),
    environment=ENVIRONMENT,
    hands_on=True,
    has_text=True,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
