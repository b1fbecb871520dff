"""Model versions in a real MariaDB: reserved, judged, exported, promoted."""

from __future__ import annotations

import dataclasses
import threading

import pytest
from sqlalchemy import create_engine, text
from support.judged import changed_images, gate_verdict, model_metrics
from support.stored_rows import candidate, model, rows

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.model_records import Decision, ModelStatus
from sniffer.core.settings import DatabaseSettings

pytestmark = pytest.mark.both_servers

REPORT = "<p>Ä figure</p>"


def test_a_promotion_moves_stable_and_remembers_previous(database: Database) -> None:
    database.models.promote(1)
    database.models.promote(2)
    database.models.promote(2)
    stable, previous = database.models.stable(), database.models.get(1)
    assert stable is not None and stable.version == 2
    assert previous is not None and previous.status is ModelStatus.PREVIOUS
    with pytest.raises(ContractError, match="not registered"):
        database.models.promote(9)


def test_a_version_belongs_to_one_digest(database: Database) -> None:
    database.models.register(model(1))
    with pytest.raises(ContractError, match="already registered"):
        database.models.register(model(1, digest="e" * 64))


def test_a_candidate_gets_the_next_version_and_keeps_it(database: Database) -> None:
    assert [database.models.reserve(candidate("a")) for _ in range(2)] == [3, 3]
    assert database.models.reserve(candidate("c"), above=7) == 8
    assert database.models.reserve(candidate("e"), above=7) == 9
    reserved = database.models.get(3)
    assert reserved == candidate("a", version=3)
    assert (database.models.metrics(3), database.models.verdict(3)) == (None, None)
    with pytest.raises(ContractError, match="not exported: export it first"):
        database.models.promote(3)


def test_candidates_at_once_get_versions_of_their_own(database: Database, database_url: str) -> None:
    found: dict[str, int] = {}
    ready = threading.Barrier(4)

    def reserve(name: str) -> None:
        with Database(DatabaseSettings(database_url, patience_s=30)) as own:
            own.check()
            ready.wait()
            found[name] = own.models.reserve(candidate(name))

    threads = [threading.Thread(target=reserve, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found.values()) == [3, 4, 5, 6]


def test_an_export_completes_the_reserved_version_and_leaves_the_verdict(database: Database) -> None:
    version = database.models.reserve(candidate("a"), model_metrics(0.7))
    verdict = gate_verdict()
    assert database.models.metrics(version) == model_metrics(0.7)
    assert database.models.report(version) is None
    judged = candidate("a", status=ModelStatus.BLESSED, threshold=0.3)
    database.models.record_verdict(version, judged, model_metrics(0.8), verdict, REPORT)
    assert (database.models.report(version), database.models.changed_images(version)) == (REPORT, None)
    changed = changed_images((0.1, 0.9), (0.8, 0.2))
    database.models.record_verdict(version, judged, model_metrics(0.8), verdict, REPORT, changed)
    assert database.models.changed_images(version) == changed
    assert database.models.metrics(version) == model_metrics(0.8)
    exported = candidate("a", version=version, digest="f" * 64, threshold=0.3)
    for _ in range(2):
        database.models.register(exported, model_metrics(0.9), gate_verdict(reason="another"))
        assert database.models.get(version) == dataclasses.replace(exported, status=ModelStatus.BLESSED)
        assert database.models.metrics(version) == model_metrics(0.9)
        assert database.models.verdict(version) == verdict
    with pytest.raises(ContractError, match="already registered"):
        database.models.register(dataclasses.replace(exported, digest="0" * 64))
    database.models.promote(version)


def test_an_export_cannot_take_what_is_reserved_for_another_candidate(database: Database) -> None:
    version = database.models.reserve(candidate("a"))
    with pytest.raises(ContractError, match="is reserved for the candidate aaaaaaaaaaaa"):
        database.models.register(candidate("c", version=version, digest="f" * 64))
    with pytest.raises(ContractError, match="has another version than 9 already"):
        database.models.register(candidate("a", version=9, digest="f" * 64))
    assert database.models.get(9) is None
    with pytest.raises(ContractError, match="is not reserved for"):
        database.models.record_verdict(
            version, candidate("c", status=ModelStatus.BLESSED), None, gate_verdict(), REPORT
        )


def test_a_verdict_on_what_is_not_exported_replaces_the_one_in_force_and_none_is_lost(database: Database) -> None:
    version = database.models.reserve(candidate("a"))
    for status in (ModelStatus.BLESSED, ModelStatus.REJECTED):
        verdict = gate_verdict(blessed=status is ModelStatus.BLESSED, reason=status)
        database.models.record_verdict(version, candidate("a", status=status), None, verdict, REPORT)
        found = database.models.get(version)
        assert found is not None
        assert (found.status, database.models.verdict(version)) == (status, verdict)
    with pytest.raises(ContractError, match="export it first"):
        database.models.promote(version)
    database.models.record_verdict(version, candidate("a", status=ModelStatus.BLESSED), None, gate_verdict(), REPORT)
    database.models.register(candidate("a", version=version, digest="f" * 64))
    database.models.promote(version)
    assert [one.reasons[0] for one in database.models.verdicts(version)] == ["blessed", "rejected", "better"]


@pytest.mark.parametrize("life", ["exported", "stable", "previous", "blessed again"])
def test_what_is_or_was_exported_keeps_its_record_and_later_verdicts_are_added(database: Database, life: str) -> None:
    version = database.models.reserve(candidate("a"), model_metrics(0.7))
    signed = dataclasses.replace(gate_verdict(reason="too few"), overridden_by="Kim", override_reason="a drill")
    for _ in range(2):
        judged = candidate("a", status=ModelStatus.BLESSED)
        assert database.models.record_verdict(version, judged, model_metrics(0.7), signed, REPORT)
    database.models.register(candidate("a", version=version, digest="f" * 64), model_metrics(0.7))
    for other in {"exported": [], "stable": [version], "previous": [version, 8], "blessed again": [version, 8, 9]}[
        life
    ]:
        if other != version:
            database.models.register(model(other))
        database.models.promote(other)
    before = database.models.get(version)
    late, late_verdict = (
        candidate("a", status=ModelStatus.REJECTED, threshold=0.9),
        gate_verdict(blessed=False, reason="late"),
    )
    for _ in range(2):
        assert not database.models.record_verdict(version, late, model_metrics(0.1), late_verdict, "<p>later</p>")
    assert database.models.get(version) == before
    assert database.models.report(version) == REPORT
    assert database.models.metrics(version) == model_metrics(0.7)
    assert database.models.verdict(version) == signed
    assert database.models.verdicts(version) == [signed, late_verdict]


@pytest.mark.parametrize("has_report", [True, False])
def test_an_exported_version_gets_the_pictures_that_an_older_release_kept_none_of(
    database: Database, database_url: str, *, has_report: bool
) -> None:
    version = database.models.reserve(candidate("a"), model_metrics(0.7))
    judged, first, later = candidate("a", status=ModelStatus.BLESSED), changed_images((0.1, 0.9)), changed_images()
    database.models.record_verdict(version, judged, model_metrics(0.7), gate_verdict(), REPORT)
    database.models.register(candidate("a", version=version, digest="f" * 64), model_metrics(0.7))
    if not has_report:
        # As it was before migration 0009.
        engine = create_engine(database_url)
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM reports"))
        engine.dispose()
    late = gate_verdict(blessed=False, reason="late")
    for found in (first, later):
        assert not database.models.record_verdict(version, judged, model_metrics(0.1), late, "<p>later</p>", found)
        assert database.models.changed_images(version) == first
    assert database.models.report(version) == (REPORT if has_report else "<p>later</p>")
    assert database.models.verdict(version) == gate_verdict()


def test_a_verdict_that_comes_with_an_export_is_kept_too(database: Database) -> None:
    for _ in range(2):
        database.models.register(model(3), model_metrics(), gate_verdict())
    assert database.models.verdicts(3) == [gate_verdict()]


def test_versions_by_status_newest_first_without_those_that_are_not_exported(database: Database) -> None:
    database.models.register(model(3))
    database.models.reserve(candidate("a"))
    assert [found.version for found in database.models.of_status(ModelStatus.BLESSED)] == [3, 2, 1]
    assert database.models.previous() is None
    database.models.promote(1)
    database.models.promote(3)
    previous = database.models.previous()
    assert previous is not None
    assert previous.version == 1
    assert [found.version for found in database.models.of_status(ModelStatus.STABLE, ModelStatus.PREVIOUS)] == [3, 1]


def test_promoting_the_previous_version_swaps_it_with_the_stable_one(database: Database) -> None:
    database.models.register(model(3))
    for version in (1, 2, 3, 2, 2):
        database.models.promote(version)
    statuses = {found.version: found.status for found in database.models.of_status(*ModelStatus)}
    assert statuses == {1: ModelStatus.BLESSED, 2: ModelStatus.STABLE, 3: ModelStatus.PREVIOUS}


def test_who_decided_is_kept_with_every_change_of_the_stable_version(database: Database) -> None:
    asked, rolled_back = Decision("ana", "Бен 🙂", "figures hold"), Decision(requested_by="cleo")
    database.models.promote(1)
    database.models.promote(2, asked)
    database.models.promote(2, Decision("mallory", "mallory"))  # it is stable already: nothing is decided
    database.models.promote(1, rolled_back)
    changes = database.models.stable_changes()
    assert [(one.version, one.previous_stable, one.decision) for one in changes] == [
        (1, None, Decision()),
        (2, 1, asked),
        (1, 2, rolled_back),
    ]
    assert changes[0].at <= changes[1].at <= changes[2].at
    assert database.models.stable_changes(2) == [changes[1]]


def test_the_newest_decision_is_in_the_row_of_the_version(database: Database, database_url: str) -> None:
    database.models.promote(1, Decision("ana", "ben", "figures hold"))
    columns = "SELECT requested_by, approved_by, approval_reason FROM models WHERE version = 1"
    assert rows(database_url, columns) == [("ana", "ben", "figures hold")]


@pytest.mark.parametrize("field", ["requested_by", "approved_by", "approval_reason"])
def test_a_decision_too_long_to_be_kept_is_refused_before_anything_changes(field: str) -> None:
    with pytest.raises(SettingsError, match=f"{field} may have at most"):
        Decision(**{field: "x" * 2001})
