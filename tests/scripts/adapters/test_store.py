"""The store against a real MariaDB: rows are asserted, not calls."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, text

from sniffer.adapters.mysql import schema
from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import ContractError, SettingsError, TransientError
from sniffer.core.model_records import ModelRecord, ModelStatus
from sniffer.core.records import Certificate, FailureSample, ListedObject, Outcome, Result, ScanRequest
from sniffer.core.settings import DatabaseSettings
from sniffer_local.mariadb import MariaDb

WHEN = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
AWKWARD_KEYS = [
    "a b.jpg",
    "emoji 😀.jpg",
    "pct%20.jpg",
    "plus+.jpg",
    "quote'\".jpg",
    "folder/",
    "Case.jpg",
    "case.jpg",
    "trailing ",
    "trailing",
    "é.jpg",
    "e\u0301.jpg",
    "ß.jpg",
    "ss.jpg",
    "k" * 1024,
    "k" * 1023 + "l",
    "😀" * 256,
]


REPORT = "<p>Ä figure</p>"


def listed(key: str, etag: str = "e1", bucket: str = "bkt") -> ListedObject:
    return ListedObject(bucket, key, etag, 123, WHEN)


def predicted(key: str, score: float = 0.5, content: bytes | None = None, etag: str = "e1") -> Result:
    content_hash = hashlib.sha256(content or key.encode()).digest()
    return Result(listed(key, etag), Outcome.PREDICTED, score, content_hash)


def failed(key: str) -> Result:
    return Result(listed(key), Outcome.FAILED, error_code="fetch", error_message="S3 was away")


def model(version: int, threshold: float = 0.5, digest: str = "d" * 64) -> ModelRecord:
    return ModelRecord(version, digest, "b" * 64, "p1", threshold, {"pr_auc": 0.9}, ModelStatus.BLESSED)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with Database(DatabaseSettings(database_url, patience_s=30)) as database:
        database.migrate()
        database.models.register(model(1))
        database.models.register(model(2))
        yield database


def rows(database_url: str, query: str) -> list[tuple[object, ...]]:
    engine = create_engine(database_url)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(text(query))]
    engine.dispose()
    return found


def test_every_awkward_key_is_a_row_of_its_own(database: Database, database_url: str) -> None:
    outcomes = database.images.record([predicted(key) for key in AWKWARD_KEYS], model_version=1, scan_id="s")
    assert outcomes == [Outcome.PREDICTED] * len(AWKWARD_KEYS)
    stored = {row[0] for row in rows(database_url, "SELECT object_key FROM images")}
    assert stored == {key.encode() for key in AWKWARD_KEYS}
    assert database.images.settled([listed(key).identity for key in AWKWARD_KEYS], 1) == {
        listed(key).identity for key in AWKWARD_KEYS
    }


def test_recording_twice_doubles_nothing_and_keeps_the_first(database: Database, database_url: str) -> None:
    assert (
        database.images.record([predicted("a", 0.1), predicted("b", 0.2)], model_version=1, scan_id="s")
        == [Outcome.PREDICTED] * 2
    )
    assert (
        database.images.record([predicted("b", 0.9), predicted("c", 0.3)], model_version=1, scan_id="s")
        == [Outcome.PREDICTED] * 2
    )
    assert rows(database_url, "SELECT score FROM predictions ORDER BY score") == [(0.1,), (0.2,), (0.3,)]


def test_what_another_scan_stored_first_counts_as_unchanged(database: Database, database_url: str) -> None:
    database.images.record([predicted("a", 0.1)], model_version=1, scan_id="first")
    assert database.images.record([predicted("a", 0.9)], model_version=1, scan_id="second") == [Outcome.UNCHANGED]
    assert rows(database_url, "SELECT scan_id, score FROM predictions") == [("first", 0.1)]


def test_a_failure_is_replaced_by_a_result_but_never_the_other_way(database: Database, database_url: str) -> None:
    database.images.record([failed("a")], model_version=1, scan_id="s")
    assert database.images.settled([listed("a").identity], 1) == set()
    assert database.images.record([predicted("a")], model_version=1, scan_id="s") == [Outcome.PREDICTED]
    assert database.images.record([failed("a")], model_version=1, scan_id="s") == [Outcome.PREDICTED]
    assert rows(database_url, "SELECT outcome, error_code FROM predictions") == [("predicted", None)]


def test_a_rescan_overwrites_once_and_resumes(database: Database, database_url: str) -> None:
    database.images.record([predicted("a", 0.1)], model_version=1, scan_id="old")
    identities = [listed("a").identity]
    assert database.images.settled(identities, 1, scan_id="new") == set()
    assert database.images.record([predicted("a", 0.7)], model_version=1, scan_id="new", rescan=True) == [
        Outcome.PREDICTED
    ]
    assert database.images.record([predicted("a", 0.9)], model_version=1, scan_id="new", rescan=True) == [
        Outcome.PREDICTED
    ]
    assert database.images.settled(identities, 1, scan_id="new") == set(identities)
    assert rows(database_url, "SELECT scan_id, score FROM predictions") == [("new", 0.7)]


def test_results_belong_to_a_model_version_and_to_an_etag(database: Database) -> None:
    database.images.record([predicted("a")], model_version=1, scan_id="s")
    assert database.images.settled([listed("a").identity], 2) == set()
    assert database.images.settled([listed("a", etag="e2").identity], 1) == set()


def test_scores_are_found_again_by_content_and_only_for_bytes_the_model_saw(database: Database) -> None:
    database.images.record([predicted("a", 0.25, b"same")], model_version=1, scan_id="s")
    same = hashlib.sha256(b"same").digest()
    database.images.record([Result(listed("b"), Outcome.REUSED, 0.25, same)], model_version=1, scan_id="s")
    assert database.images.scored_bytes([same, b"?" * 32], 1) == {same: 0.25}
    assert database.images.scored_bytes([same], 2) == {}


def test_concurrent_writers_of_the_same_images_agree(database: Database, database_url: str) -> None:
    keys = [f"k{i}" for i in range(200)]
    counted: dict[str, list[Outcome]] = {}

    def write(scan_id: str, order: int) -> None:
        with Database(DatabaseSettings(database_url, patience_s=30)) as own:
            counted[scan_id] = []
            for start in range(0, len(keys), 20):
                batch = [predicted(key) for key in keys[start : start + 20]][::order]
                counted[scan_id] += own.images.record(batch, model_version=1, scan_id=scan_id)

    threads = [threading.Thread(target=write, args=(f"s{i}", 1 if i % 2 else -1)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows(database_url, "SELECT COUNT(*) FROM predictions") == [(200,)]
    for scan_id, outcomes in counted.items():
        owned = database.scans.stored_outcomes(scan_id).get(Outcome.PREDICTED, 0)
        assert outcomes.count(Outcome.PREDICTED) == owned
        assert outcomes.count(Outcome.UNCHANGED) == len(keys) - owned


def test_a_killed_database_is_waited_for(database: Database, mariadb: MariaDb, database_url: str) -> None:
    database.images.record([predicted("before")], model_version=1, scan_id="s")
    mariadb.kill()
    restart = threading.Timer(2.0, mariadb.start)
    restart.start()
    try:
        assert database.images.record([predicted("after")], model_version=1, scan_id="s") == [Outcome.PREDICTED]
    finally:
        restart.join()
    assert rows(database_url, "SELECT COUNT(*) FROM predictions") == [(2,)]


def test_patience_ends_with_the_address_and_without_the_password() -> None:
    url = "mysql+mysqldb://u:pa%40ss@127.0.0.1:1/db"
    with (
        Database(DatabaseSettings(url, patience_s=0.1)) as away,
        pytest.raises(TransientError, match=r"127\.0\.0\.1:1/db does not answer") as caught,
    ):
        away.scans.stored_outcomes("s")
    assert "pa%40ss" not in str(caught.value)


def test_a_password_that_was_not_quoted_is_not_shown() -> None:
    with (
        Database(DatabaseSettings("mysql+mysqldb://u:pa@geheim@127.0.0.1:1/db")) as database,
        pytest.raises(SettingsError, match="percent-encoded") as caught,
    ):
        database.check()
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda url: url.replace(url.split(":")[2].split("@")[0], "wrong"), "access denied"),
        (lambda url: url.replace("127.0.0.1", "no-such-host.invalid"), "unknown host"),
        (lambda url: url.replace("?", "_absent?"), "unknown database|access denied"),
        (lambda url: url, "run `python -m sniffer.scan.migrate`"),
    ],
)
def test_wrong_settings_are_said_in_one_line(database_url: str, change: object, message: str) -> None:
    with (
        Database(DatabaseSettings(change(database_url))) as database,  # type: ignore[operator]
        pytest.raises(SettingsError, match=message) as caught,
    ):
        database.check()
    assert "\n" not in str(caught.value)


def test_the_migrations_make_the_tables_that_the_code_knows(database: Database, database_url: str) -> None:
    database.check()
    engine = create_engine(database_url)
    for table in schema.metadata.sorted_tables:
        found = {column["name"] for column in inspect(engine).get_columns(table.name)}
        assert found == set(table.columns.keys()), table.name
    engine.dispose()


def test_flagged_images_follow_the_threshold_without_a_rescan(database: Database, database_url: str) -> None:
    database.images.record([predicted("lo", 0.4), predicted("hi 😀", 0.6)], model_version=1, scan_id="s")
    assert rows(database_url, "SELECT object_key FROM flagged_images") == [("hi 😀",)]
    assert database.scans.flagged_count("s", 0.5) == 1
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE models SET threshold = 0.3 WHERE version = 1"))
    engine.dispose()
    assert len(rows(database_url, "SELECT object_key FROM flagged_images")) == 2
    assert [image.key for image in database.images.top_images(1)] == ["hi 😀", "lo"]


def test_a_promotion_moves_stable_and_remembers_previous(database: Database) -> None:
    database.models.promote(1)
    database.models.promote(2)
    database.models.promote(2)
    stable, former = database.models.stable(), database.models.get(1)
    assert stable is not None and stable.version == 2
    assert former is not None and former.status is ModelStatus.PREVIOUS
    with pytest.raises(ContractError, match="not registered"):
        database.models.promote(9)


def test_a_version_belongs_to_one_digest(database: Database) -> None:
    database.models.register(model(1))
    with pytest.raises(ContractError, match="already registered"):
        database.models.register(model(1, digest="e" * 64))


def candidate(name: str, **changes: Any) -> ModelRecord:
    record = ModelRecord(0, "", "b" * 64, "p1", 0.4, {"pr_auc": 0.8}, ModelStatus.CANDIDATE, name * 64)
    return dataclasses.replace(record, **changes)


def test_a_candidate_gets_the_next_version_and_keeps_it(database: Database) -> None:
    assert [database.models.reserve(candidate("a")) for _ in range(2)] == [3, 3]
    assert database.models.reserve(candidate("c"), above=7) == 8
    assert database.models.reserve(candidate("e"), above=7) == 9
    reserved = database.models.get(3)
    assert reserved == candidate("a", version=3)
    assert reserved is not None and reserved.verdict is None
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
    version = database.models.reserve(candidate("a"))
    verdict = {"blessed": True, "reasons": ["better"]}
    assert database.models.report(version) is None
    database.models.record_verdict(
        version, candidate("a", status=ModelStatus.BLESSED, threshold=0.3, verdict=verdict), REPORT
    )
    assert database.models.report(version) == REPORT
    exported = candidate("a", version=version, digest="f" * 64, threshold=0.3, metrics={"pr_auc": 0.9})
    for _ in range(2):
        database.models.register(exported)
        assert database.models.get(version) == dataclasses.replace(
            exported, status=ModelStatus.BLESSED, verdict=verdict
        )
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
        database.models.record_verdict(version, candidate("c", status=ModelStatus.BLESSED), REPORT)


def test_a_second_verdict_replaces_the_first_but_not_what_is_in_production(database: Database) -> None:
    version = database.models.reserve(candidate("a"))
    for status in (ModelStatus.BLESSED, ModelStatus.REJECTED):
        database.models.record_verdict(version, candidate("a", status=status, verdict={"status": status}), REPORT)
        found = database.models.get(version)
        assert found is not None
        assert (found.status, found.verdict) == (status, {"status": status})
    with pytest.raises(ContractError, match="export it first"):
        database.models.promote(version)
    database.models.record_verdict(version, candidate("a", status=ModelStatus.BLESSED), REPORT)
    database.models.register(candidate("a", version=version, digest="f" * 64))
    database.models.promote(version)
    late = candidate("a", status=ModelStatus.REJECTED, threshold=0.9, verdict={"late": True})
    database.models.record_verdict(version, late, "<p>later</p>")
    assert database.models.report(version) == "<p>later</p>"
    found = database.models.get(version)
    assert found is not None
    assert (found.status, found.threshold, found.verdict) == (ModelStatus.STABLE, 0.4, {"late": True})


def test_versions_of_before_the_verdicts_survive_the_migration(database_url: str) -> None:
    with Database(DatabaseSettings(database_url, patience_s=30)) as database:
        database.migrate("0001")
        with pytest.raises(SettingsError, match="is at schema 0001"):
            database.check()
        row = f"(4, '{'d' * 64}', '{'b' * 64}', 'p1', 0.5, '{{}}', 'stable', NOW(6))"
        engine = create_engine(database_url)
        with engine.begin() as connection:
            connection.execute(text(f"INSERT INTO models VALUES {row}"))
        engine.dispose()
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
        engine = create_engine(database_url)
        with engine.begin() as connection:
            connection.execute(text(f"INSERT INTO models VALUES {row}"))
        engine.dispose()
        database.migrate()
        with pytest.raises(ContractError, match="is reserved for the candidate \\(none\\)"):
            database.models.register(candidate("a", version=4, digest="f" * 64))
        assert database.models.reserve(candidate("a")) == 5


def test_a_certificate_comes_back_as_it_went(database: Database) -> None:
    request = ScanRequest("scan-1", "bkt", "p/", since=WHEN)
    database.scans.open(request, 1)
    assert database.scans.certificate("scan-1") is None
    certificate = Certificate(
        scan_id="scan-1",
        bucket="bkt",
        prefix="p/",
        since=WHEN,
        until=None,
        limited=False,
        listing_digest="0" * 64,
        listed=3,
        outcomes=dict.fromkeys(Outcome, 0) | {Outcome.PREDICTED: 2, Outcome.GONE: 1},
        flagged=1,
        model_version=1,
        model_digest="d" * 64,
        preprocessing_version="p1",
        threshold=0.5,
        duration_s=1.5,
        images_per_s=2.0,
        failure_samples=(FailureSample("k 😀", Outcome.GONE, "deleted", "no longer there"),),
        problems=(),
    )
    database.scans.close(certificate)
    assert database.scans.certificate("scan-1") == certificate
    with pytest.raises(ContractError, match=r"s3://bkt/p/"):
        database.scans.open(ScanRequest("scan-1", "other"), 1)


def test_failed_objects_come_back_as_they_were_listed(database: Database) -> None:
    database.images.record(
        [failed("p/a"), failed("p/b 😀"), failed("q/c"), predicted("p/d")], model_version=1, scan_id="s"
    )
    pages = list(database.images.failed_objects("bkt", "p/", 1, page_size=1))
    assert sorted((image for page in pages for image in page), key=lambda i: i.key) == [listed("p/a"), listed("p/b 😀")]


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


def ended(scan_id: str, scored: int, reused: int = 0) -> Certificate:
    outcomes = dict.fromkeys(Outcome, 0) | {Outcome.PREDICTED: scored, Outcome.REUSED: reused}
    return Certificate(
        scan_id, "bkt", "", None, None, False, "0" * 64, scored, outcomes, 0, 1, "d", "p1", 0.5, 1.0, 1.0
    )


def rewind(database_url: str, scan_id: str, days: float) -> None:
    """That scan was begun, and ended if it has, so long ago."""
    engine = create_engine(database_url)
    earlier = f"INTERVAL {round(days * 86400)} SECOND"
    with engine.begin() as connection:
        change = f"started_at = started_at - {earlier}, finished_at = finished_at - {earlier}"
        connection.execute(text(f"UPDATE scans SET {change} WHERE scan_id = '{scan_id}'"))
    engine.dispose()


def test_running_scans_pin_their_versions_until_they_end_or_are_given_up(database: Database, database_url: str) -> None:
    assert database.scans.running_versions() == set()
    database.scans.open(ScanRequest("scan-1", "bkt"), 1)
    database.scans.open(ScanRequest("scan-2", "bkt"), 2)
    assert database.scans.running_versions() == {1, 2}
    database.scans.close(ended("scan-1", 3))
    assert database.scans.running_versions() == {2}
    rewind(database_url, "scan-2", 13)
    assert database.scans.running_versions() == {2}
    rewind(database_url, "scan-2", 2)
    assert database.scans.running_versions() == set()


def test_images_a_day_are_those_that_got_a_score_over_the_days_with_scans(
    database: Database, database_url: str
) -> None:
    assert database.scans.images_per_day() is None
    for number, days in enumerate((8, 2, 1, 0)):
        database.scans.open(ScanRequest(f"scan-{number}", "bkt"), 1)
        database.scans.close(ended(f"scan-{number}", 100 * (number + 1), reused=50))
        rewind(database_url, f"scan-{number}", days)
    # The one of eight days ago is too old; the others stand for three days.
    assert database.scans.images_per_day() == pytest.approx((250 + 350 + 450) / 3, rel=0.01)


def test_recent_images_are_those_that_any_model_was_asked_about_newest_first(database: Database) -> None:
    for key in "abc":
        database.images.record([predicted(key, 0.1)], model_version=1, scan_id="s")
    database.images.record([failed("d")], model_version=1, scan_id="s")
    copy = Result(listed("e"), Outcome.REUSED, 0.3, hashlib.sha256(b"c").digest())
    database.images.record([copy], model_version=1, scan_id="s")
    database.images.record([predicted("f", 0.9), predicted("b", 0.8)], model_version=2, scan_id="s")
    assert database.images.recent_images(2) == [listed("f"), listed("c")]
    assert [image.key for image in database.images.recent_images(9)] == ["f", "c", "b", "a"]
    assert database.images.recent_images(0) == []
