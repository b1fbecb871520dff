"""Fixtures of the store: a real MariaDB, migrated."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.stored_rows import model

from sniffer.adapters.mysql.database import Database
from sniffer.core.settings import DatabaseSettings


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database with the model versions 1 and 2, which are not in production."""
    with Database(DatabaseSettings(database_url, patience_s=30)) as database:
        database.migrate()
        database.models.register(model(1))
        database.models.register(model(2))
        yield database
