"""The documents' own queries run on the database that this release makes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from sniffer.adapters.mysql.database import Database

DOCS = Path(__file__).resolve().parents[2] / "docs"


def queries() -> Iterator[tuple[str, str]]:
    """Each SELECT in the text or in a block of SQL, with its page; the views' definitions run with the migrations."""
    for path in sorted(DOCS.glob("*.md")):
        yield from ((path.name, query) for query in re.findall(r"`(SELECT [^`]+)`", path.read_text()))
        for block in re.findall(r"```sql\n(.*?)```", path.read_text(), re.DOTALL):
            for statement in re.sub(r"^--.*\n", "", block, flags=re.MULTILINE).split(";"):
                if statement.strip().startswith("SELECT"):
                    yield path.name, statement.strip()


QUERIES = list(queries())


def test_there_are_some() -> None:
    assert {"operate.md", "troubleshooting.md"} <= {page for page, _ in QUERIES}


@pytest.mark.both_servers
def test_they_run(database: Database, database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.connect() as connection:
        for page, query in QUERIES:
            assert connection.execute(text(query.replace(":", r"\:"))).all() == [], (page, query)
    engine.dispose()
