"""A held scan: what it flagged is in no view, nothing runs over it, and a person's word decides, once and on record."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from support.ended_scans import certificate_of
from support.stored_rows import change, failed, predicted, record, rows

from sniffer.adapters.images import DECODER_VERSION
from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import HeldScan, SettingsError, SupersededRun
from sniffer.core.flag_records import Deciding, FlagCounts
from sniffer.core.key_ranges import KeyRange
from sniffer.core.records import FencingToken, Result, ScanRequest

pytestmark = pytest.mark.both_servers

FLAGGED = "SELECT object_key FROM flagged_images ORDER BY object_key"
DECISIONS = "SELECT decision, decided_by, reason, results FROM hold_decisions ORDER BY number"
WHY = "9 of 10 scored images are flagged"


@pytest.fixture(autouse=True)
def stable(database: Database) -> None:
    database.models.promote(1)


def scan(
    database: Database,
    results: Sequence[Result],
    *,
    scan_id: str = "s",
    held: str = "",
    problems: tuple[str, ...] = (),
    request: ScanRequest | None = None,
    model_version: int = 1,
    threshold: float = 0.5,
) -> FencingToken:
    """A whole run of a scan, as `sniffer scan` leaves it."""
    request = request or ScanRequest(scan_id, "bkt")
    token = database.scans.open(request, model_version, threshold)
    record(database, results, token=token, model_version=model_version)
    ended = certificate_of({}, scan_id=request.scan_id, run_number=token.run_number, held=held, problems=problems)
    database.scans.close(ended)
    return token


def flood(count: int = 3) -> list[Result]:
    return [predicted(f"f{number}", 0.9) for number in range(count)]


def test_what_a_held_scan_flagged_is_in_no_view_until_it_is_released(database: Database, database_url: str) -> None:
    scan(database, [predicted("before", 0.9)], scan_id="night-1")
    scan(database, flood(), scan_id="night-2", held=WHY)
    assert rows(database_url, FLAGGED) == [("before",)]
    assert rows(database_url, "SELECT COUNT(*) FROM flagged_history") == [(1,)]
    assert [image.key for image in database.images.top_images(1)] == ["before"]
    assert rows(database_url, "SELECT state FROM scans WHERE scan_id = 'night-2'") == [("held",)]
    decided = database.holds.release(Deciding("night-2", "jo", "checked"))
    assert (decided.is_finished, decided.held_for) == (True, WHY)
    assert rows(database_url, FLAGGED) == [("before",), ("f0",), ("f1",), ("f2",)]
    assert rows(database_url, DECISIONS) == [("held", None, WHY, None), ("released", "jo", "checked", None)]
    certificate = database.scans.certificate("night-2")
    assert certificate and certificate.holds and (certificate.held, certificate.released) == (WHY, "jo: checked")
    assert database.scans.is_complete("night-2")


def test_a_held_scan_does_not_run_again_nor_does_another_of_its_dag_run(database: Database, database_url: str) -> None:
    shard = ScanRequest("night.1", "bkt", dag_run="scan_bucket/night")
    scan(database, flood(), request=shard, held=WHY)
    for request in (shard, dataclasses.replace(shard, scan_id="night.2")):
        with pytest.raises(HeldScan, match=f"scan night.1 is held: {WHY}.*sniffer release night.1"):
            database.scans.open(request, 1, 0.5)
    assert rows(database_url, "SELECT scan_id, state FROM scans") == [("night.1", "held")]
    assert [(one.scan_id, one.reason) for one in database.holds.of_dag_run("scan_bucket/night")] == [("night.1", WHY)]
    assert database.holds.of_dag_run("scan_bucket/next") == []
    assert database.scans.open(ScanRequest("next night", "bkt", dag_run="scan_bucket/next"), 1, 0.5)
    database.holds.release(Deciding("night.1", "jo", "checked"))
    assert database.scans.open(dataclasses.replace(shard, scan_id="night.2"), 1, 0.5)


def test_one_that_stopped_early_goes_on_once_it_is_released(database: Database, database_url: str) -> None:
    token = scan(database, flood(), held=WHY, problems=("stopped early",))
    assert database.holds.release_of(token) == ""
    assert not database.holds.release(Deciding("s", "jo", "checked")).is_finished
    assert rows(database_url, "SELECT state FROM scans") == [("incomplete",)]
    again = database.scans.open(ScanRequest("s", "bkt"), 1, 0.5)
    assert database.holds.release_of(again) == "jo: checked"
    assert database.holds.flag_counts(again) == FlagCounts(3, 3)


def test_a_discard_has_all_scored_again_and_nothing_counts_twice(database: Database, database_url: str) -> None:
    scan(database, [predicted("before", 0.9)], scan_id="night-1")
    late = scan(database, [*flood(), failed("x"), predicted("low", 0.1)], scan_id="night-2", held=WHY)
    decided = database.holds.discard(Deciding("night-2", "jo", "broken server"), batch_rows=2)
    assert decided.results == 4
    assert rows(database_url, DECISIONS)[1:] == [
        ("discarded", "jo", "broken server", None),
        ("discarded", "jo", "broken server", 4),
    ]
    assert rows(database_url, "SELECT outcome, COUNT(*) FROM predictions GROUP BY outcome ORDER BY 1") == [
        ("failed", 1),
        ("predicted", 1),
    ]
    assert rows(database_url, "SELECT state FROM scans WHERE scan_id = 'night-2'") == [("discarded",)]
    with pytest.raises(SupersededRun):
        record(database, [predicted("stray", 0.9)], token=late)
    again = scan(database, [predicted("f0", 0.9), predicted("f1", 0.1), predicted("f2", 0.1)], scan_id="night-2")
    assert database.holds.flag_counts(again) == FlagCounts(3, 1)
    assert database.scans.flagged(again) == 1
    assert rows(database_url, FLAGGED) == [("before",), ("f0",)]


def test_an_interrupted_discard_stays_held_and_can_only_be_ended(database: Database, database_url: str) -> None:
    scan(database, flood(), held=WHY)
    database.holds.begin_discard(Deciding("s", "jo", "broken"))
    assert next(database.holds.delete_scores("s", 1)) == 1
    assert rows(database_url, FLAGGED) == []
    with pytest.raises(HeldScan):
        database.scans.open(ScanRequest("s", "bkt"), 1, 0.5)
    with pytest.raises(SettingsError, match="is being discarded: run `sniffer discard s` again"):
        database.holds.release(Deciding("s", "jo", "checked"))
    assert database.holds.discard(Deciding("s", "al", "broken")).results == 2
    assert rows(database_url, "SELECT COUNT(*) FROM predictions") == [(0,)]
    assert database.scans.open(ScanRequest("s", "bkt"), 1, 0.5).run_number == 4


def test_only_what_is_held_can_be_decided(database: Database) -> None:
    scan(database, flood())
    for decide in (database.holds.release, database.holds.discard):
        with pytest.raises(SettingsError, match="scan s is not held: it is complete"):
            decide(Deciding("s", "jo", "why"))
        with pytest.raises(SettingsError, match="there is no scan t in MySQL"):
            decide(Deciding("t", "jo", "why"))


def test_no_score_is_reused_from_a_held_scan(database: Database) -> None:
    held, free = predicted("held", 0.9), predicted("free", 0.9)
    scan(database, [free], scan_id="a")
    scan(database, [held], scan_id="b", held=WHY)
    hashes = [result.content_hash or b"" for result in (held, free)]
    assert set(database.images.scored_bytes(hashes, 1)) == {free.content_hash}
    # It has its row, and nobody scores it twice while a person has not decided.
    identities = [held.image.identity]
    assert len(database.images.settled(identities, 1, DECODER_VERSION)) == 1
    database.holds.release(Deciding("b", "jo", "checked"))
    assert set(database.images.scored_bytes(hashes, 1)) == {held.content_hash, free.content_hash}


def test_a_scan_in_shards_is_one_of_the_past_and_its_shards_are_none_of_each_other(database: Database) -> None:
    whole = ScanRequest("whole", "bkt")
    scan(database, [predicted("a", 0.9)], scan_id="night")
    ranges = [(KeyRange("", "m"), 1), (KeyRange("m"), 1)]
    first, second = database.shards.plan(whole, 1, 0.5, ranges).parts
    asked = [dataclasses.replace(whole, scan_id=part.scan_id, key_range=part.key_range) for part in (first, second)]
    scan(database, [predicted(f"b{number}", 0.9) for number in range(3)], request=asked[0])
    ours = database.scans.open(asked[1], 1, 0.5)
    assert database.holds.flag_history(ours, 60) == (FlagCounts(1, 1),)
    scan(database, [predicted("n1", 0.9), predicted("n2", 0.1)], request=asked[1])
    after = database.scans.open(ScanRequest("after", "bkt"), 1, 0.5)
    assert database.holds.flag_history(after, 60) == (FlagCounts(1, 1),)
    database.shards.certify("whole", lambda *_: certificate_of({}, scan_id="whole"))
    assert database.holds.flag_history(after, 60) == (FlagCounts(5, 4), FlagCounts(1, 1))
    assert database.holds.flag_history(after, 1) == (FlagCounts(5, 4),)


def test_the_past_is_that_of_complete_scans_of_the_source_and_the_model(database: Database, database_url: str) -> None:
    def one(name: str, flagged: int, **more: object) -> FencingToken:
        results = [predicted(f"{name}{number}", 0.9 if number < flagged else 0.1) for number in range(4)]
        return scan(database, results, scan_id=name, **more)  # type: ignore[arg-type]

    one("first", 1)
    one("second", 2)
    one("held", 4, held=WHY)
    one("incomplete", 4, problems=("stopped",))
    one("other source", 4, request=ScanRequest("other-source", "bkt", flood_source="x"))
    one("other prefix", 4, request=ScanRequest("other-prefix", "bkt", "p/"))
    one("retry", 4, request=ScanRequest("retry", "bkt", retry_failed=True))
    one("other model", 4, model_version=2)
    one("other threshold", 4, threshold=0.3)
    ours = database.scans.open(ScanRequest("ours", "bkt"), 1, 0.5)
    one("later", 4)
    assert database.holds.flag_history(ours, 60) == (FlagCounts(4, 2), FlagCounts(4, 1))
    assert database.holds.flag_history(ours, 1) == (FlagCounts(4, 2),)
    database.holds.release(Deciding("held", "jo", "checked"))
    assert database.holds.flag_history(ours, 60)[0] == FlagCounts(4, 4)
    dated = ScanRequest("dated", "bkt", "2026-11-20/", flood_source="{{ ds }}/")
    one("dated", 3, request=dated)
    next_day = dataclasses.replace(dated, scan_id="next", prefix="2026-11-21/")
    assert database.holds.flag_history(database.scans.open(next_day, 1, 0.5), 60) == (FlagCounts(4, 3),)


def test_scans_of_an_older_release_have_their_prefix_as_source(database: Database, database_url: str) -> None:
    scan(database, flood(), request=ScanRequest("old", "bkt", "p/é/"))
    digest = rows(database_url, "SELECT HEX(source_digest) FROM scans")
    change(database_url, "UPDATE scans SET source_digest = NULL")
    change(database_url, "UPDATE alembic_version SET version_num = '0010'")
    database.migrate()
    assert rows(database_url, "SELECT HEX(source_digest) FROM scans") == digest


@pytest.mark.parametrize(
    ("by", "reason", "message"),
    [
        ("", "why", "a name is needed"),
        ("jo", "  ", "a reason is needed"),
        ("j" * 201, "why", "the name has 201 characters: at most 200 are kept"),
        ("jo", "w" * 2001, "the reason has 2,001 characters"),
    ],
)
def test_a_decision_has_a_name_and_a_reason(by: str, reason: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Deciding("night", by, reason)
