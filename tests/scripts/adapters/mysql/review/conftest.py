"""One migrated database for all tests of review on a server, emptied before each: to migrate takes longer than they."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from support.database_servers import DatabaseServer
from support.stored_rows import change, model, rows

from sniffer.adapters.mysql.database import Database
from sniffer.core.settings import DatabaseSettings
from sniffer_local.mariadb import create_database, drop_database

_MADE: dict[int, str] = {}
"""The URL by server."""


@pytest.fixture
def database_url(database_server: DatabaseServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """The SQLAlchemy URL of a database that is migrated and empty."""
    url = _MADE.get(id(database_server))
    if url is None:
        name = f"r_{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]}"
        drop_database(database_server.site, name)
        url = create_database(database_server.site, name)
        with Database(DatabaseSettings(url, patience_s=30)) as made:
            made.migrate()
        _MADE[id(database_server)] = url
    _empty(url)
    yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """That database; the model versions 1 and 2 are there, and not in production."""
    with Database(DatabaseSettings(database_url, patience_s=30)) as opened:
        opened.models.register(model(1))
        opened.models.register(model(2))
        yield opened


def _empty(url: str) -> None:
    # In this order no row is left whose image or model has gone.
    first = ("predictions", "images", "review_decisions")
    query = (
        "SELECT table_name FROM information_schema.tables "
        "WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' AND table_name <> 'alembic_version'"
    )
    found = {str(row[0]) for row in rows(url, query)}
    filled = [table for table in found if rows(url, f"SELECT 1 FROM {table} LIMIT 1")]
    for table in sorted(filled, key=lambda name: (name not in first, name == "models", name)):
        change(url, f"DELETE FROM {table}")
