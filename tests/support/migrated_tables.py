"""The tables as `sniffer migrate` leaves them, made in one go: a third of what all the migrations cost."""

from __future__ import annotations

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url

from sniffer.adapters.mysql.database import Database
from sniffer.core.settings import DatabaseSettings
from sniffer_local.mariadb import create_database, drop_database
from support.database_servers import DatabaseServer

TEMPLATE = "template"
"""The database of each server that all migrations were run on."""
FILLED_TABLES = ("alembic_version", "review_log_head")
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
        found = definitions(connection)
    engine.dispose()
    return found


def definitions(connection: Connection) -> dict[str, str]:
    """The same of the database that is connected to."""
    tables = connection.execute(text("SHOW FULL TABLES")).all()
    return {
        name: str(connection.execute(text(f"SHOW CREATE TABLE `{name}`")).one()[1])
        for name, kind in sorted(tables, key=lambda row: (row[1] == "VIEW", row[0]))
    }


def _statements(server: DatabaseServer) -> tuple[str, ...]:
    drop_database(server.site, TEMPLATE)
    url = create_database(server.site, TEMPLATE)
    with Database(DatabaseSettings(url, patience_s=30)) as database:
        database.migrate()
    rows = (f"INSERT INTO {table} SELECT * FROM {TEMPLATE}.{table}" for table in FILLED_TABLES)
    return (*table_definitions(url).values(), *rows)
