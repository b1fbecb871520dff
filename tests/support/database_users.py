"""The users that programs log in with, as `sniffer migrate --grants` makes them: a role each, and no right more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import create_engine

from sniffer.adapters.mysql.grants import ROLES, grant_statements, user_statements
from support.database_servers import DatabaseServer

PASSWORD = "a-password-of-its-own"


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
