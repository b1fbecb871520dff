"""Migrated databases that tests take one after the other: to make all tables and drop them takes longer than a test."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, NullPool, create_engine, text
from sqlalchemy.engine import make_url

from sniffer_local.mariadb import MariaDb, create_database, drop_database
from support.migrated_tables import FILLED_TABLES, TEMPLATE, definitions, make_migrated_tables

GOODBYE_S = 0.5
"""How long the server may take to notice that a connection has ended."""
_KEPT: dict[int, _Kept] = {}
"""The database that waits for the next test, by server."""
_PREFIX = "migrated"
_NUMBERS = iter(range(1, 1_000_000))


@dataclass(frozen=True)
class _State:
    """What tells a database that has been used from a new one, beside what stands in its tables."""

    definitions: tuple[tuple[str, str], ...]
    others: tuple[object, ...]
    """Its default collation, and how many triggers, routines, events and grants it has."""


@dataclass(frozen=True)
class _Kept:
    name: str
    engine: Engine
    new: _State
    checksums: dict[str, object]
    """Of the tables of a new database, by name; 0 of those without a row."""


@contextmanager
def migrated_database(server: MariaDb) -> Iterator[str]:
    """The SQLAlchemy URL of a database that is as `sniffer migrate` leaves a new one; of that server alone.

    It may have been another test's, who must have let go of it. One that cannot be made new again is dropped.
    """
    kept = _KEPT.pop(id(server), None)
    if kept is not None and not _is_made_new(kept):
        drop_database(server.site, kept.name)
        kept = None
    kept = kept or _make(server)
    yield server.site.url(kept.name)
    _KEPT[id(server)] = kept


def is_migrated(url: str) -> bool:
    """Whether that URL is of such a database."""
    return str(make_url(url).database).startswith(_PREFIX)


def _make(server: MariaDb) -> _Kept:
    name = f"{_PREFIX}{next(_NUMBERS)}"  # without an underscore, which grants would escape
    url = create_database(server.site, name)
    make_migrated_tables(server, url)
    engine = create_engine(url, poolclass=NullPool)  # a test may kill the server, and with it what is connected
    with engine.connect() as connection:
        return _Kept(name, engine, _state(connection), _checksums(connection))


def _is_made_new(kept: _Kept) -> bool:
    """Empty the tables that were written to. False when somebody is still connected, or more than rows has changed."""
    with kept.engine.connect() as connection:
        deadline = time.monotonic() + GOODBYE_S
        while _others_connected(connection):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        found = _checksums(connection)
        if found.keys() != kept.checksums.keys():
            return False
        differ = {table for table, checksum in found.items() if checksum != kept.checksums[table]}
        connection.execute(text("SET foreign_key_checks = 0"))
        for table in sorted(differ | _written_tables(connection)):
            # Not DELETE: the next free number, statistics and what is yet to be purged would stay.
            connection.execute(text(f"TRUNCATE TABLE `{table}`"))
            if table in FILLED_TABLES:
                connection.execute(text(f"INSERT INTO `{table}` SELECT * FROM `{TEMPLATE}`.`{table}`"))
        connection.commit()
        return _checksums(connection) == kept.checksums and _state(connection) == kept.new


def _others_connected(connection: Connection) -> bool:
    query = "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND id != CONNECTION_ID()"
    return int(connection.execute(text(query)).scalar_one()) > 0


def _checksums(connection: Connection) -> dict[str, object]:
    tables = [name for name, kind in connection.execute(text("SHOW FULL TABLES")).all() if kind == "BASE TABLE"]
    rows = connection.execute(text(f"CHECKSUM TABLE {', '.join(f'`{table}`' for table in tables)}")).all()
    return {str(name).partition(".")[2]: checksum for name, checksum in rows}


def _written_tables(connection: Connection) -> set[str]:
    """Those that rows were written to since the server started, also if none is left."""
    query = (
        "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() "
        "AND table_type = 'BASE TABLE' AND (update_time IS NOT NULL OR auto_increment > 1)"
    )
    filled = set(FILLED_TABLES)
    return {str(name) for name in connection.execute(text(query)).scalars()} - filled


def _state(connection: Connection) -> _State:
    counts = ", ".join(
        f"(SELECT COUNT(*) FROM {table} WHERE {column} = DATABASE())"
        for table, column in (
            ("information_schema.triggers", "trigger_schema"),
            ("information_schema.routines", "routine_schema"),
            ("information_schema.events", "event_schema"),
            ("mysql.db", "db"),
            ("mysql.tables_priv", "db"),
            ("mysql.columns_priv", "db"),
            ("mysql.procs_priv", "db"),
        )
    )
    others = connection.execute(text(f"SELECT @@collation_database, {counts}")).one()
    return _State(tuple(definitions(connection).items()), tuple(others))
