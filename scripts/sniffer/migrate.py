"""`python -m sniffer.migrate`: bring the database of SNIFFER_DATABASE_URL to the schema that this code needs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command  # noqa: TID251 - SQL belongs to the store and its migrations
from alembic.config import Config  # noqa: TID251 - SQL belongs to the store and its migrations

from sniffer.contracts import SnifferError
from sniffer.logs import configure_logging
from sniffer.settings import database_settings
from sniffer.store import Store

if TYPE_CHECKING:
    from sqlalchemy import Connection  # noqa: TID251 - a type only

MIGRATIONS = Path(__file__).with_name("migrations")


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Apply every migration up to `revision` that the database does not have yet. Idempotent."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; the exit status is 0 when the database is up to date."""
    argparse.ArgumentParser(prog="python -m sniffer.migrate", description=__doc__).parse_args(argv)
    configure_logging("migrate")
    try:
        with Store(database_settings()) as store:
            store.migrate(upgrade)
            store.check()
    except SnifferError as error:
        print(f"migrate: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
