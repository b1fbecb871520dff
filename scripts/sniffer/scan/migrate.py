"""`sniffer migrate`: bring the database of SNIFFER_DATABASE_URL to the schema that this code needs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from sniffer.adapters.mysql.database import Database
from sniffer.core.program import Program
from sniffer.core.settings import database_settings


def _run(_: argparse.Namespace) -> int:
    with Database(database_settings()) as database:
        database.migrate()
        database.check()
    return 0


PROGRAM = Program(
    command="sniffer migrate",
    summary="Create the tables of the database, or bring them to the schema that this release needs. Run it before "
    "anything else of a new release; it may be run again at any time.",
    run=_run,
    examples=("sniffer migrate",),
    environment=("SNIFFER_DATABASE_URL", "SNIFFER_LOG_FORMAT"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; the exit status is 0 when the database is up to date."""
    return PROGRAM.main(argv)


if __name__ == "__main__":
    sys.exit(main())
