"""One multi-row upsert in one statement, on MySQL and on MariaDB, and an insert that minds no row that is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, Insert
from sqlalchemy.exc import IntegrityError

_DUPLICATE = 1062
"""ER_DUP_ENTRY."""


def insert_unless_there(connection: Connection, row: Insert) -> bool:
    """Insert that row, unless one with its key is there; whether it was inserted. Waits for whoever inserts it now.

    For roles that may insert more columns than they may update: MariaDB wants UPDATE on every column that an upsert
    inserts.
    """
    try:
        connection.execute(row)
    except IntegrityError as error:
        if error.orig is None or error.orig.args[0] != _DUPLICATE:
            raise
        return False
    return True


def upsert(
    connection: Connection,
    table: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    updates: Mapping[str, str],
) -> None:
    """Insert the rows, values in the order of `columns`; where a key is taken, set each column of `updates` instead.

    There `{new}` stands for what would have been inserted, as in `{"hits": "t.hits + {new}"}`, and `{new_NAME}` for
    that of another column. Columns are set from left to right: what comes later sees what is set already.
    """
    # Built here, since the driver's executemany sends row by row what it does not recognise, and compiling thousands
    # of bound parameters costs more than the statement.
    marks = ",".join(["(" + ",".join(["%s"] * len(columns)) + ")"] * len(rows))
    alias, form = ("", "VALUES({})") if _is_mariadb(connection) else (" AS fresh", "fresh.{}")
    fresh = {f"new_{name}": form.format(name) for name in columns}
    changes = ", ".join(f"{name} = {change.format(new=form.format(name), **fresh)}" for name, change in updates.items())
    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES {marks}{alias} ON DUPLICATE KEY UPDATE {changes}"
    connection.exec_driver_sql(statement, tuple(value for row in rows for value in row))


def _is_mariadb(connection: Connection) -> bool:
    return bool(getattr(connection.dialect, "is_mariadb", False))
