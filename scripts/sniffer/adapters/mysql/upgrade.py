"""Brings a database to the schema that this code needs, by Alembic, one process at a time."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from sniffer.core.errors import TransientError

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).with_name("migrations")
TABLE_LOCK_LIMIT_S = 60
"""An ALTER that waits for a transaction holds up every other one behind it; better that it is tried again later."""
_ASK_EVERY_S = 5


def upgrade(connection: Connection, revision: str, *, lock_patience_s: float) -> None:
    """Apply every migration up to `revision` that the database does not have yet. Idempotent.

    Raises TransientError when another process migrates the database for longer than the patience.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    with _alone(connection, lock_patience_s):
        connection.execute(text(f"SET SESSION lock_wait_timeout = {TABLE_LOCK_LIMIT_S}"))
        command.upgrade(config, revision)


def lock_name(database: str) -> str:
    """The name of the lock that a migration of that database holds: server-wide, at most 64 characters."""
    return f"sniffer_migrate_{hashlib.sha256(database.encode()).hexdigest()[:16]}"


@contextlib.contextmanager
def _alone(connection: Connection, patience_s: float) -> Iterator[None]:
    """Hold the database's lock; the server frees it when the connection ends, however it does."""
    database = str(connection.execute(text("SELECT DATABASE()")).scalar())
    name = lock_name(database)
    deadline = time.monotonic() + patience_s
    while not _locked(connection, name, min(_ASK_EVERY_S, max(0.0, deadline - time.monotonic()))):
        holder = connection.execute(text("SELECT IS_USED_LOCK(:name)"), {"name": name}).scalar()
        if time.monotonic() >= deadline:
            raise TransientError(
                f"another process has been migrating the database {database} for {patience_s:g} s (lock {name}, MySQL "
                f"connection {holder}): let it end, then run again"
            )
        log.warning(
            "another process migrates the database %s (lock %s, MySQL connection %s): waiting", database, name, holder
        )
    try:
        yield
    finally:
        if not connection.invalidated:
            connection.execute(text("DO RELEASE_LOCK(:name)"), {"name": name})


def _locked(connection: Connection, name: str, wait_s: float) -> bool:
    return connection.execute(text("SELECT GET_LOCK(:name, :wait_s)"), {"name": name, "wait_s": wait_s}).scalar() == 1
