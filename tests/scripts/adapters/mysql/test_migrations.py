"""The tables: as the code knows them, and as older releases left them."""

from __future__ import annotations

import dataclasses

import pytest
from sqlalchemy import create_engine, inspect
from support.all_tables import all_tables
from support.database_servers import DatabaseServer
from support.judged import gate_verdict, model_metrics
from support.migrated_tables import make_migrated_tables, table_definitions
from support.stored_rows import candidate, change, model
from support.table_structure import name_of, structure

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.mysql.upgrade import MIGRATIONS
from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.model_records import ModelRecord, ModelStatus
from sniffer.core.settings import DatabaseSettings
from sniffer_local.mariadb import create_database, drop_database

pytestmark = pytest.mark.both_servers


def test_the_migrations_make_the_tables_that_the_code_knows(database_url: str) -> None:
    with Database(DatabaseSettings(database_url, patience_s=30)) as database:
        database.migrate()
        database.check()
    engine = create_engine(database_url)
    for table in all_tables().sorted_tables:
        found = {column["name"] for column in inspect(engine).get_columns(table.name)}
        assert found == set(table.columns.keys()), table.name
    engine.dispose()


def test_the_tables_of_other_tests_are_those_of_the_migrations(
    database_url: str, database_server: DatabaseServer
) -> None:
    make_migrated_tables(database_server, database_url)
    made, rows = structure(database_url), _rows_at_first(database_server, database_url)
    drop_database(database_server.site, name_of(database_url))
    create_database(database_server.site, name_of(database_url))
    with Database(DatabaseSettings(database_url, patience_s=30)) as database:
        database.migrate()
    assert made == structure(database_url)
    assert rows == _rows_at_first(database_server, database_url)


def _rows_at_first(server: DatabaseServer, url: str) -> dict[str, list[tuple[object, ...]]]:
    names = [name for name, made in table_definitions(url).items() if made.startswith("CREATE TABLE")]
    return {name: server.site.rows(f"SELECT * FROM {name_of(url)}.{name}") for name in names}


def revisions() -> list[str]:
    """The numbers of all migrations, oldest first."""
    return sorted(file.name.partition("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def test_a_database_of_any_release_becomes_the_same_as_a_new_one(
    database_url: str, database_server: DatabaseServer
) -> None:
    found = {}
    for revision in reversed(revisions()):
        drop_database(database_server.site, name_of(database_url))
        create_database(database_server.site, name_of(database_url))
        with Database(DatabaseSettings(database_url, patience_s=30)) as database:
            database.migrate(revision)
            database.migrate()
            database.check()
        found[revision] = structure(database_url)
    new = found[revisions()[-1]]
    assert len(found) >= 7
    assert [revision for revision, tables in found.items() if tables != new] == []


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
        assert stable == ModelRecord(4, "d" * 64, "b" * 64, "p1", 0.5, ModelStatus.STABLE)
        assert (database.models.metrics(4), database.models.verdict(4)) == (None, None)
        database.models.register(stable)
        assert database.models.reserve(candidate("a")) == 5


def test_verdicts_of_before_they_were_all_kept_survive_the_migration(database_url: str) -> None:
    with Database(DatabaseSettings(database_url, patience_s=30)) as database:
        database.migrate()
        for version in (3, 4):
            database.models.register(model(version), model_metrics(), gate_verdict(reason=f"of {version}"))
        database.models.register(model(5))
        change(database_url, "DROP TABLE verdicts")
        change(database_url, "UPDATE alembic_version SET version_num = '0005'")
        database.migrate()
        found = [database.models.verdicts(version) for version in (3, 4, 5)]
        assert found == [[gate_verdict(reason="of 3")], [gate_verdict(reason="of 4")], []]


def test_a_version_reserved_before_thresholds_counted_has_to_be_judged_again(database_url: str) -> None:
    with Database(DatabaseSettings(database_url, patience_s=30)) as database:
        database.migrate("0003")
        row = f"(4, '', '{'b' * 64}', 'p1', 0.5, '{{}}', 'blessed', NOW(6), '{'a' * 64}', NULL)"
        change(database_url, f"INSERT INTO models VALUES {row}")
        database.migrate()
        with pytest.raises(ContractError, match="is reserved for the candidate \\(none\\)"):
            database.models.register(candidate("a", version=4, digest="f" * 64))
        assert database.models.reserve(candidate("a")) == 5


def test_changes_of_the_stable_version_of_before_keep_what_was_stable_then(database_url: str) -> None:
    with Database(DatabaseSettings(database_url, patience_s=30)) as database:
        database.migrate("0007")
        change(
            database_url,
            "INSERT INTO promotions (version, former, promoted_at) VALUES (1, NULL, NOW(6)), (2, 1, NOW(6))",
        )
        database.migrate()
        change(database_url, "UPDATE alembic_version SET version_num = '0007'")  # as if it had been interrupted
        database.migrate()
        database.check()
        assert [(one.version, one.previous_stable) for one in database.models.stable_changes()] == [(1, None), (2, 1)]


@pytest.mark.parametrize("kept", ["metrics", "verdict"])
def test_records_of_another_form_keep_no_version_from_being_used(
    database: Database, database_url: str, kept: str
) -> None:
    database.models.register(model(3), model_metrics(), gate_verdict())
    change(database_url, f"""UPDATE models SET {kept} = '{{"pr_auc": 0.9}}' WHERE version = 3""")
    assert database.models.get(3) == model(3)
    with pytest.raises(ContractError, match=f"{kept} .* version 3 in the table `models` is of another form .*again"):
        getattr(database.models, kept)(3)


def test_a_verdict_from_before_candidates_had_names_can_be_read(database: Database, database_url: str) -> None:
    database.models.register(model(3), model_metrics(), gate_verdict())
    change(database_url, "UPDATE models SET verdict = JSON_REMOVE(verdict, '$.candidate_digest') WHERE version = 3")
    assert database.models.verdict(3) == dataclasses.replace(gate_verdict(), candidate_digest="")
