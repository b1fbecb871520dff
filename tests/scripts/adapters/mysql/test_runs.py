"""Runs of a scan in MySQL: only the newest writes, one at a time, and what it commits is counted with its rows."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy import Connection, create_engine, text
from support.ended_scans import certificate_of
from support.stored_rows import change, failed, listed, predicted, record, rows

from sniffer.adapters.mysql import driver
from sniffer.adapters.mysql.database import Database
from sniffer.adapters.mysql.transactions import Transactions
from sniffer.core.errors import ContractError, ScanInUse, SupersededRun, TransientError
from sniffer.core.records import (
    FencingToken,
    ListingDigest,
    Outcome,
    OutcomeTally,
    Result,
    ScanRequest,
)
from sniffer.core.settings import DatabaseSettings

pytestmark = pytest.mark.both_servers

REQUEST = ScanRequest("s", "bkt")


def tally(outcome: Outcome, code: str, flagged: int, *images: Result) -> OutcomeTally:
    digest = ListingDigest()
    digest.add(result.image.identity for result in images)
    return OutcomeTally(outcome, code, len(images), flagged, digest.value)


def test_each_run_takes_the_next_number(database: Database) -> None:
    first, second = (database.scans.open(REQUEST, 1, 0.5) for _ in range(2))
    assert (first.run_number, second.run_number) == (1, 2)
    assert first.scan_number == second.scan_number
    assert database.scans.open(ScanRequest("t", "bkt"), 1, 0.5).scan_number != first.scan_number


def test_what_an_older_run_still_writes_is_refused(database: Database, database_url: str) -> None:
    old = database.scans.open(REQUEST, 1, 0.5)
    new = database.scans.open(REQUEST, 1, 0.5)
    with pytest.raises(SupersededRun, match="run 1 of scan s has been superseded by run 2"):
        record(database, [predicted("a")], token=old)
    with pytest.raises(SupersededRun):
        database.scans.renew(old, 30)
    assert record(database, [predicted("b")], token=new) == [Outcome.PREDICTED]
    database.scans.close(certificate_of({}, run_number=2))
    with pytest.raises(SupersededRun):
        database.scans.close(certificate_of({}, run_number=1))
    assert database.scans.certificate("s") == certificate_of({}, run_number=2)
    assert rows(database_url, "SELECT object_key FROM images") == [(b"b",)]
    assert rows(database_url, "SELECT run_number FROM tallies") == [(2,)]


def test_a_new_run_waits_for_the_transaction_of_an_older_one(database: Database, database_url: str) -> None:
    """Otherwise that transaction could commit after the new run has looked up what is stored."""
    old = database.scans.open(REQUEST, 1, 0.5)
    opened: list[float] = []

    def open_anew() -> None:
        with Database(DatabaseSettings(database_url, patience_s=30)) as other:
            other.scans.open(REQUEST, 1, 0.5)
            opened.append(time.monotonic())

    engine = create_engine(database_url)
    with engine.begin() as storing:
        storing.execute(text(f"SELECT 1 FROM scans WHERE number = {old.scan_number} LOCK IN SHARE MODE"))
        thread = threading.Thread(target=open_anew)
        thread.start()
        time.sleep(1.0)
        assert opened == []
    thread.join(10)
    engine.dispose()
    assert len(opened) == 1


def test_a_scan_is_refused_while_another_holds_its_lease(database: Database, database_url: str) -> None:
    token = database.scans.open(REQUEST, 1, 0.5, holder="one", lease_s=60)
    with pytest.raises(ScanInUse, match="scan s is held by one") as caught:
        database.scans.open(REQUEST, 1, 0.5, holder="two", lease_s=60)
    assert 50 < caught.value.lease.left_s <= 60
    # A retry whose first answer was lost is no other holder.
    again = database.scans.open(REQUEST, 1, 0.5, holder="one", lease_s=60)
    assert again == FencingToken(token.scan_number, 2)
    change(database_url, "UPDATE leases SET lease_until = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND")
    assert database.scans.open(REQUEST, 1, 0.5, holder="two", lease_s=60).run_number == 3


def test_a_renewal_moves_the_lease_on_and_the_end_gives_it_back(database: Database, database_url: str) -> None:
    token = database.scans.open(REQUEST, 1, 0.5, holder="one", lease_s=5)
    database.scans.renew(token, 3600)
    left = "SELECT TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(6), lease_until) > 3000 FROM leases"
    assert rows(database_url, left) == [(1,)]
    database.scans.close(certificate_of({}, run_number=token.run_number))
    assert rows(database_url, "SELECT * FROM leases") == []
    assert database.scans.open(REQUEST, 1, 0.5, holder="two", lease_s=5).run_number == 2


def test_a_scan_that_was_deleted_meanwhile_has_no_lease(database: Database, database_url: str) -> None:
    token = database.scans.open(REQUEST, 1, 0.5, holder="one", lease_s=5)
    change(database_url, "DELETE FROM leases")
    change(database_url, "DELETE FROM scans")
    with pytest.raises(ContractError, match="is not in MySQL any more"):
        database.scans.renew(token, 5)


def test_a_frozen_consumer_s_locks_are_free_again_after_a_while(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = database.scans.open(REQUEST, 1, 0.5)
    monkeypatch.setattr(driver, "IDLE_LIMIT_S", 1)
    frozen = Transactions(DatabaseSettings(database_url))

    def freeze(connection: Connection) -> None:
        connection.execute(text(f"SELECT 1 FROM scans WHERE number = {token.scan_number} LOCK IN SHARE MODE"))
        assert database.scans.open(REQUEST, 1, 0.5).run_number == 2

    with pytest.raises(TransientError):
        frozen.transact(freeze, patience_s=0)
    frozen.close()


def test_a_renewal_waits_for_no_storing_transaction(database: Database, database_url: str) -> None:
    token = database.scans.open(REQUEST, 1, 0.5)
    engine = create_engine(database_url)
    with engine.begin() as storing:
        storing.execute(text(f"SELECT 1 FROM scans WHERE number = {token.scan_number} LOCK IN SHARE MODE"))
        began = time.monotonic()
        database.scans.renew(token, 30)
        assert time.monotonic() - began < 5
    engine.dispose()


def test_tallies_count_what_is_committed_by_outcome_and_code(database: Database) -> None:
    token = database.scans.open(REQUEST, 1, 0.5)
    high, low, bad = predicted("high", 0.9), predicted("low", 0.1), failed("bad")
    record(database, [high, low], token=token)
    record(database, [bad], token=token)
    record(database, [high, bad], token=token)
    expected = (tally(Outcome.FAILED, "fetch", 0, bad), tally(Outcome.PREDICTED, "", 1, high, low))
    assert database.scans.tallies(token) == expected
    assert database.scans.flagged(token) == 1


def test_what_is_scored_after_all_leaves_the_tally_of_failures(database: Database, database_url: str) -> None:
    token = database.scans.open(REQUEST, 1, 0.5)
    record(database, [failed("a")], token=token)
    with Database(DatabaseSettings(database_url, patience_s=30)) as other:
        record(other, [predicted("a", 0.9)], token=token)
    found = {(t.outcome, t.code): t for t in database.scans.tallies(token)}
    assert found[Outcome.PREDICTED, ""] == tally(Outcome.PREDICTED, "", 1, predicted("a"))
    assert found[Outcome.FAILED, "fetch"] == tally(Outcome.FAILED, "fetch", 0)


def test_an_image_that_another_scan_stored_first_counts_once_however_often_it_comes(database: Database) -> None:
    record(database, [predicted("a", 0.9)], scan_id="first")
    token = database.scans.open(REQUEST, 1, 0.5)
    for _ in range(3):
        assert record(database, [predicted("a", 0.2)], token=token) == [Outcome.UNCHANGED]
    assert database.scans.tallies(token) == (tally(Outcome.UNCHANGED, "", 1, predicted("a")),)
    assert database.scans.flagged(token) == 0


def test_a_rescan_beside_us_does_not_disturb_our_count(database: Database) -> None:
    token = database.scans.open(REQUEST, 1, 0.5)
    record(database, [predicted("a", 0.9), predicted("b", 0.9)], token=token)
    record(database, [predicted("a", 0.1)], scan_id="rescan", rescan=True)
    assert record(database, [predicted("a", 0.9)], token=token) == [Outcome.PREDICTED]
    assert database.scans.tallies(token) == (tally(Outcome.PREDICTED, "", 2, predicted("a"), predicted("b")),)


def test_consumers_tally_beside_one_another(database: Database, database_url: str) -> None:
    token = database.scans.open(REQUEST, 1, 0.5)
    images = [predicted(f"k{n}") for n in range(120)]

    def store(part: int) -> None:
        with Database(DatabaseSettings(database_url, patience_s=30)) as own:
            for start in range(part, 120, 30):
                record(own, images[start : start + 10], token=token)

    threads = [threading.Thread(target=store, args=(10 * n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert database.scans.tallies(token) == (tally(Outcome.PREDICTED, "", 120, *images),)
    assert rows(database_url, "SELECT COUNT(DISTINCT writer) FROM tallies") == [(3,)]


def test_the_samples_of_a_scan_are_its_own(database: Database) -> None:
    record(database, [failed("other")], scan_id="other")
    token = database.scans.open(REQUEST, 1, 0.5)
    gone = Result(listed("g"), Outcome.GONE, error_code="deleted", error_message="gone")
    record(database, [gone, failed("f"), predicted("p")], token=token)
    samples = database.scans.failure_samples(token, 1, 10)
    assert [(sample.key, sample.code) for sample in samples] == [("f", "fetch"), ("g", "deleted")]
    assert len(database.scans.failure_samples(token, 1, 1)) == 1
