"""One migrated database of a server for many tests, emptied before each: to migrate takes longer than they do."""

from __future__ import annotations

from sqlalchemy import create_engine, text

from sniffer.adapters.mysql.database import Database
from sniffer.core.settings import DatabaseSettings
from sniffer_local.mariadb import create_database, drop_database
from support.database_servers import DatabaseServer

NAME = "emptied"
_MADE: dict[int, str] = {}
"""The URL by server."""


def emptied_database(server: DatabaseServer) -> str:
    """The SQLAlchemy URL of that server's database, migrated and empty."""
    url = _MADE.get(id(server))
    if url is None:
        drop_database(server.site, NAME)
        url = create_database(server.site, NAME)
        with Database(DatabaseSettings(url, patience_s=30)) as made:
            made.migrate()
        _MADE[id(server)] = url
        return url
    _empty(url)
    return url


def _empty(url: str) -> None:
    # In this order no row is left whose image or model has gone.
    first = ("predictions", "images", "review_decisions")
    query = (
        "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() "
        "AND table_type = 'BASE TABLE' AND table_name NOT IN ('alembic_version', 'review_log_head')"
    )
    engine = create_engine(url)
    with engine.begin() as connection:
        found = {str(name) for name in connection.execute(text(query)).scalars()}
        filled = [name for name in found if connection.execute(text(f"SELECT 1 FROM {name} LIMIT 1")).first()]
        for name in sorted(filled, key=lambda name: (name not in first, name == "models", name)):
            connection.execute(text(f"DELETE FROM {name}"))
            if name in ("images", "review_log"):
                connection.execute(text(f"ALTER TABLE {name} AUTO_INCREMENT = 1"))
        connection.execute(text("REPLACE review_log_head (singleton, number, hash) VALUES (1, 0, REPEAT(CHAR(0), 32))"))
    engine.dispose()
