"""Fixtures of the store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine
from support.database_servers import DatabaseServer
from support.database_users import PASSWORD
from support.stored_rows import model

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.mysql.grants import ROLES, user_statements
from sniffer.scan.migrate import main


@pytest.fixture
def database(database: Database) -> Database:
    """The model versions 1 and 2 are there, and not in production."""
    database.models.register(model(1))
    database.models.register(model(2))
    return database


@pytest.fixture
def roles(
    database: Database, database_url: str, database_server: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """The roles, made by the program, and a user for each, as its output says."""
    monkeypatch.setenv("SNIFFER_DATABASE_URL", database_url)
    assert main(["--grants", "--apply"]) == 0
    engine = create_engine(database_url)
    with engine.connect() as connection:
        for role in ROLES:
            for statement in user_statements(connection, role):
                database_server.site.execute(statement.replace("'...'", f"'{PASSWORD}'").replace("'%'", "'127.0.0.1'"))
    engine.dispose()
    yield
    for role in ROLES:
        database_server.site.execute(f"DROP USER '{role.name}_user'@'127.0.0.1'", f"DROP ROLE {role.name}")
