"""What each role may do with model versions: the gate judges, a rollout alone puts into production."""

from __future__ import annotations

import dataclasses

import pytest
from sqlalchemy import text
from support.database_users import DENIED, connected, denied, url_of
from support.judged import gate_verdict, model_metrics
from support.stored_rows import candidate, model, predicted, record

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.mysql.transactions import Transactions
from sniffer.core.errors import SettingsError, SnifferError
from sniffer.core.model_records import ModelStatus
from sniffer.core.settings import DatabaseSettings

pytestmark = pytest.mark.both_servers


@pytest.mark.usefixtures("roles")
def test_the_trainer_judges_and_registers_and_sees_no_image(database_url: str) -> None:
    with connected(database_url, "sniffer_trainer") as database:
        version = database.models.reserve(candidate("a"), model_metrics())
        judged = candidate("a", status=ModelStatus.BLESSED)
        database.models.record_verdict(version, judged, model_metrics(), gate_verdict(), "<p>report</p>")
        database.models.register(candidate("a", version=version, digest="f" * 64), model_metrics())
        assert database.models.report(version) == "<p>report</p>"
    denied(database_url, "sniffer_trainer", "SELECT * FROM images", "SELECT * FROM predictions", "DELETE FROM models")
    denied(database_url, "sniffer_trainer", "UPDATE verdicts SET version = 9", "DELETE FROM verdicts")
    denied(
        database_url,
        "sniffer_trainer",
        "UPDATE models SET approved_by = 'me'",
        "UPDATE models SET requested_by = NULL",
        "UPDATE models SET version = 9",
        "UPDATE models SET production = 'stable'",
        "UPDATE models SET production = NULL",
        "INSERT INTO models (version, judged, production) VALUES (9, 'blessed', 'stable')",
        "REPLACE INTO models SELECT * FROM models",
        "INSERT INTO promotions (version) VALUES (1)",
    )


@pytest.mark.usefixtures("roles")
def test_no_word_of_a_trainer_makes_a_version_stable_or_takes_one_away(database: Database, database_url: str) -> None:
    for version in (1, 2):
        database.models.register(model(version))
    database.models.promote(1)
    transactions = Transactions(DatabaseSettings(url_of(database_url, "sniffer_trainer"), patience_s=0))
    for judged in ("stable", "previous"):
        forged = text(f"UPDATE models SET judged = '{judged}'")
        with pytest.raises(SnifferError, match="models_judged|3819|4025"):
            transactions.transact(lambda connection, forged=forged: connection.execute(forged))  # type: ignore[misc]
    rejected = text("UPDATE models SET judged = 'rejected'")
    transactions.transact(lambda connection: connection.execute(rejected))
    transactions.close()
    stable = database.models.stable()
    assert stable is not None and (stable.version, database.models.previous()) == (1, None)
    assert set(database.retention.versions_in_use()) == {1}
    with connected(database_url, "sniffer_trainer") as own, pytest.raises(SettingsError, match=DENIED):
        own.models.register(dataclasses.replace(model(4), status=ModelStatus.PREVIOUS))
    with connected(database_url, "sniffer_trainer") as own, pytest.raises(SettingsError, match=DENIED):
        own.models.register(dataclasses.replace(model(3), status=ModelStatus.STABLE))


@pytest.mark.usefixtures("roles")
def test_a_rollout_promotes_and_writes_nothing_else(database: Database, database_url: str) -> None:
    record(database, [predicted("a")])
    with connected(database_url, "sniffer_rollout") as own:
        own.models.promote(1)
        own.models.promote(2)
        assert own.models.previous() is not None
        assert own.scans.running_versions() == {1} and own.shards.half_done() == []
        own.scans.images_per_day()
        assert [image.key for image in own.images.recent_images(5)] == ["a"]
        own.models.of_status(ModelStatus.BLESSED)
    denied(
        database_url,
        "sniffer_rollout",
        "INSERT INTO models SELECT * FROM models",
        "UPDATE predictions SET score = 0",
        "DELETE FROM models",
        "UPDATE promotions SET approved_by = 'me'",
        "DELETE FROM promotions",
        "UPDATE scans SET state = 'complete'",
        "UPDATE models SET threshold = 1",
        "UPDATE models SET judged = 'blessed'",
        "UPDATE models SET verdict = NULL",
        "INSERT INTO verdicts (version) VALUES (1)",
    )
