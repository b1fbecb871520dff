"""What migrations ask before each step: MySQL commits every DDL statement by itself, so a step may be done already."""

from __future__ import annotations

from sqlalchemy import Connection, text


def has_column(connection: Connection, table: str, column: str) -> bool:
    """Whether that table of the current database has that column."""
    query = text(
        "SELECT COUNT(*) FROM information_schema.columns "
        "WHERE table_schema = DATABASE() AND table_name = :table AND column_name = :column"
    )
    return bool(connection.execute(query, {"table": table, "column": column}).scalar())
