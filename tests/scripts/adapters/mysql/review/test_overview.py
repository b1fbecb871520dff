"""What the summary page asks: scans with all their shards, what waits, what was decided; and by which indexes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import text
from support.audited import certified_scan, decide_all, sharded_scan
from support.database_servers import DatabaseServer
from support.database_users import url_of, users
from support.ended_scans import certificate_of
from support.many_rows import counted_reads
from support.reviewed import decide, flag
from support.stored_rows import change, failed, predicted, record

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.mysql.transactions import Transactions
from sniffer.core.flag_records import Deciding
from sniffer.core.key_ranges import ALL_KEYS
from sniffer.core.records import Outcome, ScanRequest
from sniffer.core.review_records import ReviewDecision, SecondReview
from sniffer.core.settings import DatabaseSettings

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
TODAY = datetime.now(UTC).date()


def test_a_scan_counts_what_it_has_stored_in_all_its_runs(database: Database) -> None:
    request = ScanRequest("night", "bkt", prefix="u/", dag_run="scan_uploads/scheduled__1")
    token = database.scans.open(request, 1, 0.5, holder="a")
    record(database, [predicted("a", 0.9), predicted("b", 0.1)], token=token)
    token = database.scans.open(request, 1, 0.5, holder="a")
    record(database, [predicted("c", 0.7), failed("d")], token=token)
    [running] = database.overview.scans(LONG_AGO, 10)
    assert (running.state, running.is_alive, running.listed) == ("running", True, 0)
    assert (running.scored, running.flagged, running.stored[Outcome.FAILED]) == (3, 2, 1)
    assert (running.bucket, running.prefix, running.dag_run) == ("bkt", "u/", "scan_uploads/scheduled__1")
    counts = {Outcome.PREDICTED: 3, Outcome.FAILED: 1, Outcome.SKIPPED: 5}
    database.scans.close(certificate_of(counts, scan_id="night", run_number=2, codes={"fetch": 1}))
    [ended] = database.overview.scans(LONG_AGO, 10)
    assert (ended.state, ended.is_alive, ended.listed, ended.night) == ("complete", False, 9, TODAY)
    assert ended.counts == dict.fromkeys(Outcome, 0) | counts
    assert (ended.scored, ended.flagged) == (3, 2)
    assert database.overview.codes([ended.number]) == {ended.number: {"fetch": 1}}
    assert database.overview.codes([]) == {}


def test_shards_count_as_one_scan_that_is_alive_while_one_of_them_is(database: Database) -> None:
    sharded_scan(database, "whole", [0.9, 0.1], [0.8, 0.7, 0.2])
    [whole] = database.overview.scans(LONG_AGO, 10)
    assert (whole.scan_id, whole.state, whole.listed) == ("whole", "complete", 5)
    assert (whole.scored, whole.flagged, whole.is_alive) == (5, 3, False)
    parts = database.shards.plan(ScanRequest("next", "bkt"), 1, 0.5, [(ALL_KEYS, 1)]).parts
    assert not database.overview.scans(LONG_AGO, 1)[0].is_alive
    database.scans.open(ScanRequest(parts[0].scan_id, "bkt", key_range=parts[0].key_range), 1, 0.5)
    assert [(one.scan_id, one.is_alive) for one in database.overview.scans(LONG_AGO, 10)] == [
        ("next", True),
        ("whole", False),
    ]


def test_what_was_discarded_is_not_counted_and_a_killed_scan_is_not_alive(database: Database) -> None:
    token = database.scans.open(ScanRequest("flood", "bkt"), 1, 0.5)
    record(database, [predicted("a", 0.9)], token=token)
    database.scans.close(certificate_of({Outcome.PREDICTED: 1}, scan_id="flood", held="a flood"))
    assert database.overview.scans(LONG_AGO, 1)[0].state == "held"
    database.holds.discard(Deciding("flood", "jo", "a test"))
    [flood] = database.overview.scans(LONG_AGO, 1)
    assert (flood.state, flood.scored, flood.flagged) == ("discarded", 0, 0)
    database.scans.open(ScanRequest("killed", "bkt"), 1, 0.5, lease_s=-600)
    killed = database.overview.scans(LONG_AGO, 1)[0]
    assert (killed.scan_id, killed.state, killed.is_alive) == ("killed", "running", False)


def test_only_so_many_scans_and_only_those_since_then(database: Database, database_url: str) -> None:
    for name in ("one", "two", "three"):
        certified_scan(database, name, [0.5])
    assert [one.scan_id for one in database.overview.scans(LONG_AGO, 2)] == ["three", "two"]
    change(database_url, "UPDATE scans SET started_at = '2026-01-01' WHERE scan_id = 'two'")
    since = datetime(2026, 1, 2, tzinfo=UTC)
    assert [one.scan_id for one in database.overview.scans(since, 10)] == ["three", "one"]


def test_the_scans_of_a_run_are_those_whose_ids_begin_with_its_name(database: Database) -> None:
    certified_scan(database, "scan_bucket.r1.bkt-1", [0.9, 0.1])
    certified_scan(database, "scan_bucket.r10.bkt-1", [0.9])
    certified_scan(database, "scan_bucket_r1.bkt-1", [0.9])
    assert [(one.scan_id, one.flagged) for one in database.overview.of_run("scan_bucket.r1")] == [
        ("scan_bucket.r1.bkt-1", 1)
    ]
    assert database.overview.of_run("scan%") == ()


def test_the_queue_says_how_many_wait_and_since_when(database: Database, database_url: str) -> None:
    assert database.overview.queue(100) == database.overview.queue(1)
    assert (database.overview.queue(1).waiting, database.overview.queue(1).oldest) == (0, None)
    flag(database, {"a": 0.9, "b": 0.8, "c": 0.7})
    decide(database, "c", ReviewDecision.UNSURE)  # which a lead settles
    change(database_url, "UPDATE review_queue SET entered_at = '2026-11-01' WHERE place = 0.8")
    change(database_url, "UPDATE review_queue SET entered_at = '2026-10-01' WHERE is_for_lead")
    found = database.overview.queue(100)
    assert (found.waiting, found.for_leads, found.is_all) == (2, 1, True)
    assert found.oldest == datetime(2026, 11, 1, tzinfo=UTC)
    assert not database.overview.queue(2).is_all


def test_first_decisions_are_counted_by_day(database: Database, database_url: str) -> None:
    flag(database, {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6})
    decide(database, "a")
    decide(database, "b", second=SecondReview(1.0))
    assert decide_all(database, "ben", lambda _: True) == 3  # b as its second reviewer
    change(database_url, "UPDATE review_decisions SET decided_at = '2026-11-20 23:59' WHERE score = 0.9")
    assert database.overview.decided(LONG_AGO, 100) == {date(2026, 11, 20): 1, TODAY: 3}
    assert database.overview.decided(datetime.now(UTC) + timedelta(days=1), 100) == {}
    assert sum(database.overview.decided(LONG_AGO, 2).values()) == 2


SCANS = """
    INSERT INTO scans (scan_id, run_number, bucket, prefix, source_digest, model_version, threshold, request, state,
        started_at, finished_at)
    SELECT CONCAT('old-', seq), 1, 'bkt', '', REPEAT('x', 32), 1, 0.5, '{}', 'complete',
        NOW(6) - INTERVAL seq + 50 HOUR,
        NOW(6) - INTERVAL seq + 49 HOUR
    FROM seq_1_to_2500
"""
TALLIES = """
    INSERT INTO tallies (scan_number, run_number, writer, outcome, code, images, flagged, digest)
    SELECT number, 1, 1, 'predicted', '', 10, 1, REPEAT('x', 32) FROM scans
"""


def few_rows(query: Callable[[], object], most: int) -> None:
    with counted_reads() as reads:
        query()
    assert reads.plans, "nothing was asked"
    assert reads.rows <= most, f"{reads.rows:,} rows were read:\n" + "\n".join(reads.plans)
    assert reads.walks == [], "a whole table may be read:\n" + "\n".join(reads.plans)


def test_a_summary_of_some_nights_does_not_read_those_of_years(database: Database, database_url: str) -> None:
    transactions = Transactions(DatabaseSettings(database_url))
    for statement in (SCANS, TALLIES, "ANALYZE TABLE scans, tallies"):
        transactions.transact(lambda connection, statement=statement: connection.execute(text(statement)))  # type: ignore[misc]
    transactions.close()
    certified_scan(database, "scan_bucket.r.new", [0.9])
    found = database.overview.scans(datetime.now(UTC) - timedelta(days=10), 1000)
    assert found[0].scan_id == "scan_bucket.r.new" and 150 < len(found) < 250
    few_rows(lambda: database.overview.scans(datetime.now(UTC) - timedelta(days=10), 1000), most=3000)
    few_rows(lambda: database.overview.of_run("scan_bucket.r"), most=100)


def test_airflows_user_may_read_all_of_it(
    database: Database, database_url: str, database_server: DatabaseServer
) -> None:
    flag(database, {"a": 0.9})
    with (
        users(database_server, database_url, "sniffer_reader"),
        Database(DatabaseSettings(url_of(database_url, "sniffer_reader"), patience_s=0)) as reader,
    ):
        [one] = reader.overview.scans(LONG_AGO, 10)
        assert (one.flagged, reader.overview.queue(10).waiting, reader.overview.decided(LONG_AGO, 10)) == (1, 1, {})
        assert (reader.overview.codes([one.number]), reader.overview.of_run("s")) == ({}, ())
