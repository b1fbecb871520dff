"""The tables: as the code knows them, and as older releases left them."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, inspect
from support.stored_rows import candidate, change

from sniffer.adapters.mysql import schema
from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.model_records import ModelRecord, ModelStatus
from sniffer.core.settings import DatabaseSettings


def test_the_migrations_make_the_tables_that_the_code_knows(database: Database, database_url: str) -> None:
    database.check()
    engine = create_engine(database_url)
    for table in schema.metadata.sorted_tables:
        found = {column["name"] for column in inspect(engine).get_columns(table.name)}
        assert found == set(table.columns.keys()), table.name
    engine.dispose()


def test_versions_of_before_the_verdicts_survive_the_migration(database_url: str) -> None:
    with Database(DatabaseSettings(database_url, patience_s=30)) as database:
        database.migrate("0001")
        with pytest.raises(SettingsError, match="is at schema 0001"):
            database.check()
        row = f"(4, '{'d' * 64}', '{'b' * 64}', 'p1', 0.5, '{{}}', 'stable', NOW(6))"
        change(database_url, f"INSERT INTO models VALUES {row}")
        database.migrate()
        database.check()
        stable = database.models.stable()
        assert stable == ModelRecord(4, "d" * 64, "b" * 64, "p1", 0.5, {}, ModelStatus.STABLE)
        database.models.register(stable)
        assert database.models.reserve(candidate("a")) == 5


def test_a_version_reserved_before_thresholds_counted_has_to_be_judged_again(database_url: str) -> None:
    with Database(DatabaseSettings(database_url, patience_s=30)) as database:
        database.migrate("0003")
        row = f"(4, '', '{'b' * 64}', 'p1', 0.5, '{{}}', 'blessed', NOW(6), '{'a' * 64}', NULL)"
        change(database_url, f"INSERT INTO models VALUES {row}")
        database.migrate()
        with pytest.raises(ContractError, match="is reserved for the candidate \\(none\\)"):
            database.models.register(candidate("a", version=4, digest="f" * 64))
        assert database.models.reserve(candidate("a")) == 5
