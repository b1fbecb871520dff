"""Migrations that are interrupted, or run twice at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, create_engine, event, text
from support.database_servers import DatabaseServer
from support.table_structure import name_of, structure

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.mysql.upgrade import lock_name
from sniffer.core.errors import TransientError
from sniffer.core.settings import DatabaseSettings
from sniffer_local.mariadb import create_database, drop_database

pytestmark = pytest.mark.both_servers


class Interrupted(Exception):
    """As if the process had been killed."""


def migrate(url: str, *, patience_s: float = 0) -> None:
    with Database(DatabaseSettings(url, patience_s=patience_s)) as database:
        database.migrate()
        database.check()


class Statements:
    """Counts what any engine executes that changes something, and interrupts after the one with the number `last`."""

    def __init__(self) -> None:
        self.count = 0
        self.last: int | None = None

    def after(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.split(maxsplit=1)[0].upper() in ("SELECT", "SET", "SHOW", "DO"):
            return
        self.count += 1
        if self.count == self.last:
            raise Interrupted


@pytest.fixture
def statements() -> Iterator[Statements]:
    counter = Statements()
    event.listen(Engine, "after_cursor_execute", counter.after)
    yield counter
    event.remove(Engine, "after_cursor_execute", counter.after)


@pytest.mark.slow
def test_a_migration_interrupted_after_any_statement_can_be_run_again(
    database_url: str, database_server: DatabaseServer, statements: Statements
) -> None:
    migrate(database_url)
    whole, total = structure(database_url), statements.count
    assert total > 10
    for last in range(1, total + 1):
        drop_database(database_server.site, name_of(database_url))
        create_database(database_server.site, name_of(database_url))
        statements.count, statements.last = 0, last
        with pytest.raises(Interrupted):
            migrate(database_url)
        statements.last = None
        migrate(database_url)
        assert structure(database_url) == whole, f"interrupted after statement {last}"


def test_migrations_at_once_wait_for_each_other(database_url: str) -> None:
    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(migrate, database_url, patience_s=60) for _ in range(3)]
    assert [each.result() for each in running] == [None] * 3


def test_who_waits_for_another_migration_is_told_and_gives_up_with_its_name(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    name = lock_name(name_of(database_url))
    engine = create_engine(database_url)
    with engine.connect() as other:
        number = other.execute(text("SELECT CONNECTION_ID()")).scalar_one()
        assert other.execute(text("SELECT GET_LOCK(:name, 0)"), {"name": name}).scalar() == 1
        begun = time.monotonic()
        with pytest.raises(TransientError, match=f"lock {name}, MySQL connection {number}"):
            migrate(database_url, patience_s=6)
        assert 6 <= time.monotonic() - begun < 12
    assert "waiting" in caplog.text
    engine.dispose()
    migrate(database_url)
