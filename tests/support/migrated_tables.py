"""The tables as `sniffer migrate` leaves them, made in one go: a third of what all the migrations cost."""

from __future__ import annotations

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from sniffer.adapters.mysql.database import Database
from sniffer.core.settings import DatabaseSettings
from sniffer_local.mariadb import create_database, drop_database
from support.database_servers import DatabaseServer

_NAME = "template"
_FILLED = ("alembic_version", "review_log_head")
"""What a migration also writes rows to."""
_STATEMENTS: dict[int, tuple[str, ...]] = {}
"""What makes all tables and views, by server."""


def make_migrated_tables(server: DatabaseServer, url: str) -> None:
    """Make all tables in the empty database of that URL, as they are in a database that was migrated."""
    statements = _STATEMENTS.get(id(server)) or _STATEMENTS.setdefault(id(server), _statements(server))
    server.site.execute(f"USE `{make_url(url).database}`", *statements)


def table_definitions(url: str) -> dict[str, str]:
    """The statement that makes each table and view of that database: tables first."""
    engine = create_engine(url)
    with engine.connect() as connection:
        tables = connection.execute(text("SHOW FULL TABLES")).all()
        found = {
            name: str(connection.execute(text(f"SHOW CREATE TABLE `{name}`")).one()[1])
            for name, kind in sorted(tables, key=lambda row: (row[1] == "VIEW", row[0]))
        }
    engine.dispose()
    return found


def _statements(server: DatabaseServer) -> tuple[str, ...]:
    drop_database(server.site, _NAME)
    url = create_database(server.site, _NAME)
    with Database(DatabaseSettings(url, patience_s=30)) as database:
        database.migrate()
    rows = (f"INSERT INTO {table} SELECT * FROM {_NAME}.{table}" for table in _FILLED)
    return (*table_definitions(url).values(), *rows)
