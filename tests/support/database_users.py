"""The users that programs log in with, as `sniffer migrate --grants` makes them: a role each, and no right more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, text

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.mysql.grants import ROLES, grant_statements, user_statements
from sniffer.adapters.mysql.transactions import Transactions
from sniffer.core.errors import SettingsError
from sniffer.core.settings import DatabaseSettings
from support.database_servers import DatabaseServer

PASSWORD = "a-password-of-its-own"
DENIED = "a right is missing .* denied to user .*`sniffer migrate --grants`"


def url_of(database_url: str, role: str) -> str:
    """The same database for the user of that role."""
    return f"mysql+mysqldb://{role}_user:{PASSWORD}@{database_url.rpartition('@')[2]}"


@contextmanager
def users(server: DatabaseServer, database_url: str, *names: str) -> Iterator[None]:
    """Meanwhile there are these roles for a database that is migrated, each with a user."""
    roles = [role for role in ROLES if role.name in names]
    engine = create_engine(database_url)
    with engine.connect() as connection:
        granted = [statement for statement in grant_statements(connection) if statement.rpartition(" ")[2] in names]
        made = [
            statement.replace("'...'", f"'{PASSWORD}'").replace("'%'", "'127.0.0.1'")
            for role in roles
            for statement in user_statements(connection, role)
        ]
    engine.dispose()
    server.site.execute(*granted, *made)
    try:
        yield
    finally:
        server.start()  # whatever the test did to it
        server.site.execute(*(f"DROP USER '{role.name}_user'@'127.0.0.1'" for role in roles))
        server.site.execute(*(f"DROP ROLE {role.name}" for role in roles))


@contextmanager
def connected(database_url: str, role: str) -> Iterator[Database]:
    """The repositories as a program has them that logs in with that role."""
    with Database(DatabaseSettings(url_of(database_url, role), patience_s=0)) as database:
        database.check()
        yield database


def denied(database_url: str, role: str, *statements: str) -> None:
    """Each of the statements is refused to that role, for want of a right."""
    transactions = Transactions(DatabaseSettings(url_of(database_url, role), patience_s=0))
    for statement in statements:
        with pytest.raises(SettingsError, match=DENIED):
            transactions.transact(lambda connection, statement=statement: connection.execute(text(statement)))  # type: ignore[misc]
    transactions.close()
