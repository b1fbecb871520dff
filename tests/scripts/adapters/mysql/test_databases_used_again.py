"""The databases that tests take one after the other: whatever one did to it, the next finds a new one."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from support.migrated_databases import migrated_database
from support.migrated_tables import table_definitions

from sniffer_local.mariadb import MariaDb

MODEL = (
    "INSERT INTO models (version, digest, backbone_digest, preprocessing_version, threshold, metrics, judged, "
    "registered_at) SELECT seq, 'd', 'b', 'p', 0.5, '{}', 'blessed', NOW() FROM seq_1_to_1000"
)


def content(server: MariaDb, name: str) -> dict[str, list[tuple[object, ...]]]:
    """All rows by table, what the server reckons with, and the tables themselves."""
    site = server.site
    tables = [str(table) for (table,) in site.rows(f"SHOW TABLES FROM {name}")]
    found: dict[str, list[tuple[object, ...]]] = {table: site.rows(f"SELECT * FROM {name}.{table}") for table in tables}
    found["statistics"] = site.rows(
        "SELECT table_name, n_rows, clustered_index_size FROM mysql.innodb_table_stats "
        f"WHERE database_name = '{name}' AND table_name NOT IN ('alembic_version', 'review_log_head') ORDER BY 1"
    )
    found["triggers"] = site.rows(f"SHOW TRIGGERS FROM {name}")
    found["definitions"] = [(text.replace(name, ""),) for text in table_definitions(site.url(name)).values()]
    return found


def name_of(url: str) -> str:
    return str(make_url(url).database)


@pytest.fixture
def new(mariadb: MariaDb) -> dict[str, list[tuple[object, ...]]]:
    """What is in a new one."""
    with migrated_database(mariadb) as url:
        return content(mariadb, name_of(url))


@pytest.mark.parametrize(
    "statements",
    [
        pytest.param((MODEL,), id="rows"),
        pytest.param((MODEL, "DELETE FROM models"), id="rows that have gone again"),
        pytest.param(("UPDATE review_log_head SET number = 9",), id="what migrations wrote"),
        pytest.param(("START TRANSACTION", "INSERT INTO images (bucket) VALUES ('b')", "ROLLBACK"), id="a number"),
    ],
)
def test_what_was_written_is_gone(
    mariadb: MariaDb, new: dict[str, list[tuple[object, ...]]], statements: tuple[str, ...]
) -> None:
    with migrated_database(mariadb) as url:
        used = name_of(url)
        mariadb.site.execute(f"USE {used}", "SET sql_mode = ''", "SET foreign_key_checks = 0", *statements)
    with migrated_database(mariadb) as url:
        assert name_of(url) == used
        assert content(mariadb, used) == new


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE images ADD COLUMN more INT",
        "CREATE TABLE more (a INT)",
        "DROP VIEW flagged_history",
        "CREATE TRIGGER more BEFORE DELETE ON images FOR EACH ROW SET @more = 1",
        "GRANT SELECT ON {name}.* TO CURRENT_USER()",
        "GRANT SELECT ON {name}.images TO CURRENT_USER()",
        "ALTER DATABASE {name} CHARACTER SET latin1",
    ],
)
def test_one_that_was_changed_is_not_used_again(
    mariadb: MariaDb, new: dict[str, list[tuple[object, ...]]], statement: str
) -> None:
    with migrated_database(mariadb) as url:
        used = name_of(url)
        mariadb.site.execute(f"USE {used}", statement.format(name=used))
    with migrated_database(mariadb) as url:
        assert name_of(url) != used
        assert content(mariadb, name_of(url)) == new
    assert used not in [name for (name,) in mariadb.site.rows("SHOW DATABASES")]


def test_one_that_somebody_still_writes_to_is_not_used_again(mariadb: MariaDb) -> None:
    with migrated_database(mariadb) as url:
        used = name_of(url)
    engine = create_engine(url)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        connection.rollback()
        started = time.monotonic()
        with migrated_database(mariadb) as url:
            assert name_of(url) != used
        assert time.monotonic() - started < 60
    engine.dispose()


def test_a_server_that_was_killed_is_no_reason_to_keep_rows(
    mariadb: MariaDb, new: dict[str, list[tuple[object, ...]]]
) -> None:
    with migrated_database(mariadb) as url:
        used = name_of(url)
        mariadb.site.execute(f"USE {used}", MODEL)
    mariadb.kill()
    mariadb.start()
    with migrated_database(mariadb) as url:
        assert content(mariadb, name_of(url)) == new
