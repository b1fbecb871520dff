"""`sniffer migrate`: bring the database of SNIFFER_DATABASE_URL to the schema that this code needs."""

from __future__ import annotations

import argparse
import sys

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import SettingsError
from sniffer.core.parser import Parser
from sniffer.core.program import Program
from sniffer.core.settings import database_settings


def _add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "--grants",
        action="store_true",
        help="print the SQL for a role for each program, with just its rights, and migrate nothing",
    )
    parser.add_argument(
        "--apply", action="store_true", help="with --grants: create these roles too, as the user of the URL"
    )


def _run(arguments: argparse.Namespace) -> int:
    if arguments.apply and not arguments.grants:
        raise SettingsError("--apply belongs to --grants")
    with Database(database_settings()) as database:
        if not arguments.grants:
            database.migrate()
        database.check()
        if arguments.apply:
            database.make_roles()
        if arguments.grants:
            print(database.grants_script(), flush=True)
    return 0


PROGRAM = Program(
    command="sniffer migrate",
    summary="Create the tables of the database, or bring them to the schema that this release needs. Run it before "
    "anything else of a new release; it may be run again at any time, also after an interruption, and waits while "
    "another one runs.",
    run=_run,
    add_arguments=_add_arguments,
    examples=("sniffer migrate", "sniffer migrate --grants > roles.sql"),
    environment=("SNIFFER_DATABASE_URL", "SNIFFER_DATABASE_PATIENCE_S", "SNIFFER_LOG_FORMAT"),
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
