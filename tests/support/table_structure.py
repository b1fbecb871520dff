"""What a server says of the tables that migrations have made."""

from __future__ import annotations

from support.stored_rows import rows


def name_of(url: str) -> str:
    """The database of that URL."""
    return url.rsplit("/", 1)[1].partition("?")[0]


def structure(url: str) -> list[list[tuple[object, ...]]]:
    """Columns, indexes and constraints of every table, and the views with their text, as the server tells them."""
    where = f"WHERE table_schema = '{name_of(url)}'"
    queries = (
        "SELECT table_name, ordinal_position, column_name, column_type, is_nullable, column_key, extra, "
        f"COALESCE(column_default, ''), COALESCE(collation_name, '') FROM information_schema.columns {where}",
        f"SELECT table_name, index_name, seq_in_index, column_name FROM information_schema.statistics {where}",
        f"SELECT table_name, constraint_type, COUNT(*) FROM information_schema.table_constraints {where} GROUP BY 1, 2",
        f"SELECT table_name, view_definition FROM information_schema.views {where}",
        "SELECT version_num FROM alembic_version",
    )
    return [sorted(rows(url, query)) for query in queries]
