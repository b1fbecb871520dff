"""`python -m sniffer.scan.migrate`: bring the database of SNIFFER_DATABASE_URL to the schema that this code needs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import SnifferError
from sniffer.core.logs import configure_logging
from sniffer.core.settings import database_settings


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; the exit status is 0 when the database is up to date."""
    argparse.ArgumentParser(prog="python -m sniffer.scan.migrate", description=__doc__).parse_args(argv)
    configure_logging("migrate")
    try:
        with Database(database_settings()) as database:
            database.migrate()
            database.check()
    except SnifferError as error:
        print(f"migrate: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
