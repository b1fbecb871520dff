"""With a million images, no query of a scan, and none that people ask, reads rows in proportion to the tables."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text
from support.database_servers import DatabaseServer
from support.ended_scans import certificate_of
from support.many_rows import FAILURES, IMAGES, SCANS, content_hash, counted_reads, fill, identity
from support.stored_rows import failed, predicted, record

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.mysql.transactions import Transactions, utc_now
from sniffer.core.flag_records import Deciding
from sniffer.core.key_ranges import KeyRange
from sniffer.core.records import FencingToken, ScanRequest
from sniffer.core.settings import DatabaseSettings
from sniffer_local.mariadb import create_database, drop_database
from sniffer_local.mysql import MySql

pytestmark = pytest.mark.slow

NAME = "many_rows"
PAGE = 1000
MOST_ROWS = 8 * PAGE
"""Of most queries here: a few for each row of a page. The smallest of what must not be walked for it has 10,000."""
RANKED_ROWS = 50_000
"""Of a ranking within a bucket, which looks through the best 10,000 of all, however many there are."""


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    server: DatabaseServer = request.getfixturevalue(f"{request.param}_server")
    server.start()
    drop_database(server.site, NAME)
    url = create_database(server.site, NAME)
    with Database(DatabaseSettings(url)) as database:
        database.migrate()
        tokens = [database.scans.open(ScanRequest(f"s{number}", "large"), 1, 0.999) for number in range(1, SCANS + 1)]
        assert tokens == [FencingToken(number, 1) for number in range(1, SCANS + 1)]
    server.site.execute("SET GLOBAL innodb_buffer_pool_size = 536870912")
    if isinstance(server, MySql):
        server.site.execute("ALTER INSTANCE DISABLE INNODB REDO_LOG")  # of a server to throw away; minutes faster
    fill(lambda *statements: server.site.execute(f"USE {NAME}", *statements))
    server.site.rows(f"ANALYZE TABLE {NAME}.images, {NAME}.predictions")
    if isinstance(server, MySql):
        server.site.execute("ALTER INSTANCE ENABLE INNODB REDO_LOG")
    yield url
    drop_database(server.site, NAME)


@pytest.fixture
def many(url: str) -> Iterator[Database]:
    with Database(DatabaseSettings(url)) as database:
        database.check()
        yield database


def few_rows(query: Callable[[], object], most: int = MOST_ROWS) -> None:
    with counted_reads() as reads:
        query()
    assert reads.plans, "nothing was asked"
    assert reads.rows <= most, f"{reads.rows:,} rows were read:\n" + "\n".join(reads.plans)
    assert reads.walks == [], "a whole table may be read:\n" + "\n".join(reads.plans)


NUMBERS = range(1, IMAGES, IMAGES // PAGE)


def test_looking_up_what_is_settled(many: Database) -> None:
    identities = [identity(number) for number in NUMBERS]
    few_rows(lambda: many.images.settled(identities, 1, 1))
    few_rows(lambda: many.images.settled(identities, 1, 1, scan_id="s1"))
    few_rows(lambda: many.images.settled(identities, 2, 1))


def test_looking_up_what_was_scored_before(many: Database) -> None:
    few_rows(lambda: many.images.scored_bytes([content_hash(number) for number in NUMBERS], 1))
    few_rows(lambda: many.images.scored_bytes([content_hash(-number) for number in NUMBERS], 2))


@pytest.mark.parametrize("prefix", ["", "u/"])
def test_a_page_of_what_failed_costs_a_page(many: Database, prefix: str) -> None:
    pages = many.images.failed_objects("large", prefix, 1, 1, page_size=PAGE)
    for _ in range(3):
        few_rows(lambda: next(pages))


@pytest.mark.parametrize(("bucket", "prefix"), [("large", "u/99/"), ("large", "v/"), ("quiet", ""), ("absent", "")])
def test_what_did_not_fail_costs_no_more_than_the_failures(many: Database, bucket: str, prefix: str) -> None:
    few_rows(lambda: list(many.images.failed_objects(bucket, prefix, 1, 1, page_size=PAGE)), most=3 * FAILURES)


def test_the_pages_of_what_failed_are_complete(many: Database) -> None:
    pages = many.images.failed_objects("large", "u/1/", 1, 1, page_size=PAGE)
    assert len({image.key for image in itertools.chain.from_iterable(pages)}) == FAILURES


def test_the_highest_scores(many: Database) -> None:
    few_rows(lambda: many.images.top_images(1, 10))


@pytest.mark.parametrize("bucket", ["large", "quiet", "absent"])
def test_the_highest_scores_of_a_bucket(many: Database, bucket: str) -> None:
    few_rows(lambda: many.images.top_images(1, 10, bucket), most=RANKED_ROWS)


def test_the_newest_images(many: Database) -> None:
    few_rows(lambda: many.images.recent_images(100))


def test_what_a_certificate_counts_and_shows(many: Database) -> None:
    token = FencingToken(1, 1)
    few_rows(lambda: many.scans.tallies(token))
    few_rows(lambda: many.scans.flagged(token))
    few_rows(lambda: many.scans.failure_samples(token, 1, 100))
    few_rows(many.scans.running_versions)
    few_rows(many.scans.images_per_day)


def test_storing_a_batch(many: Database) -> None:
    results = [predicted(f"n{number}", 0.5) for number in range(31)] + [failed("n31")]
    few_rows(lambda: record(many, results, scan_id="another"))
    few_rows(lambda: record(many, results, scan_id="another"))


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM flagged_images ORDER BY score DESC LIMIT 100",
        "SELECT * FROM flagged_images WHERE bucket = 'large' AND object_key = 'u/1/1.jpg'",
        "SELECT * FROM flagged_images WHERE bucket = 'large' ORDER BY score DESC LIMIT 10",
        "SELECT * FROM flagged_history ORDER BY score DESC LIMIT 100",
        "SELECT * FROM flagged_history WHERE bucket = 'large' AND object_key = 'u/1/1.jpg'",
        "SELECT * FROM unreadable_images LIMIT 100",
    ],
)
def test_what_reviewers_ask_the_view(url: str, query: str) -> None:
    transactions = Transactions(DatabaseSettings(url))
    few_rows(lambda: transactions.transact(lambda connection: connection.execute(text(query)).all()))
    transactions.close()


def test_a_batch_of_pruning_costs_a_batch(many: Database) -> None:
    batches = many.retention.prune(scored_before=utc_now(), model_versions=[1], batch_rows=PAGE, dry_run=True)
    for _ in range(3):
        few_rows(lambda: next(batches), most=9 * PAGE)
    few_rows(lambda: many.retention.running_scans(model_versions=[1], bucket="large"))


@pytest.mark.parametrize(("key", "prefix"), [("u/1/1.jpg", ""), (None, "u/1/1.")])
def test_an_erasure_costs_what_it_erases(many: Database, key: str | None, prefix: str) -> None:
    few_rows(lambda: many.retention.count_keys("large", key, prefix))
    few_rows(lambda: list(many.retention.erase("quiet", key, prefix, batch_rows=PAGE)))


def test_a_held_scan_costs_neither_look_ups_nor_views_nor_its_discard(url: str, many: Database) -> None:
    token = many.scans.open(ScanRequest("flood", "large", dag_run="night"), 1, 0.999)
    record(many, [predicted(f"flood{number}", 0.9999) for number in range(200)], token=token)
    few_rows(lambda: many.holds.flag_counts(token))
    few_rows(lambda: many.holds.flag_history(token, 60))
    many.scans.close(certificate_of({}, scan_id="flood", run_number=token.run_number, held="a flood"))
    transactions = Transactions(DatabaseSettings(url))
    for view in ("flagged_images", "flagged_history"):
        query = text(f"SELECT * FROM {view} ORDER BY score DESC LIMIT 100")
        few_rows(lambda query=query: transactions.transact(lambda connection: connection.execute(query).all()))  # type: ignore[misc]
    transactions.close()
    few_rows(lambda: many.images.top_images(1, 10))
    few_rows(lambda: many.images.scored_bytes([content_hash(number) for number in NUMBERS], 1))
    few_rows(lambda: many.holds.of_dag_run("night"))
    few_rows(lambda: many.holds.discard(Deciding("flood", "jo", "a test"), batch_rows=100))
    assert many.images.top_images(1, 1)[0].key != "flood0"


def test_a_plan_of_many_shards_is_looked_at_by_its_own_rows(many: Database) -> None:
    """Of 200 plans of 20 shards, all begun, one is looked at, judged, held and released."""
    ranges = [(KeyRange(str(n), str(n + 1)), 10) for n in range(10, 29)]
    for number in range(200):
        many.shards.plan(ScanRequest(f"plan-{number}", "large"), 1, 0.999, [(KeyRange("", "10"), 10), *ranges])
    transactions = Transactions(DatabaseSettings(many._settings.url))
    transactions.transact(
        lambda connection: connection.execute(
            text(
                "INSERT INTO scans (scan_id, run_number, bucket, prefix, source_digest, model_version, threshold, "
                "request, state, started_at, finished_at) "
                "SELECT part_scan_id, 1, 'large', '', w.source_digest, 1, 0.999, w.request, 'complete', NOW(6), NOW(6) "
                "FROM shards JOIN scans w ON w.number = scan_number WHERE part_scan_id <> 'plan-7.4'"
            )
        )
    )
    transactions.transact(
        lambda connection: connection.execute(
            text(
                "UPDATE scans SET state = 'complete', finished_at = NOW(6) "
                "WHERE scan_id LIKE 'plan%' AND scan_id NOT LIKE 'plan-7%'"
            )
        )
    )
    part = many.shards.find("plan-7").parts[3]  # type: ignore[union-attr]
    asked = ScanRequest(part.scan_id, "large", key_range=part.key_range)
    few_rows(lambda: many.scans.open(asked, 1, 0.999))
    token = many.scans.open(asked, 1, 0.999, holder="")
    for ask in (
        lambda: many.holds.plan_counts(token),
        lambda: many.holds.plan_past(token, 60, 3),
        lambda: many.holds.hold_plan(token, "a flood"),
        lambda: many.holds.of_dag_run("night"),
        lambda: many.shards.half_done([1]),
        lambda: many.holds.release(Deciding("plan-7", "jo", "a test")),
    ):
        few_rows(ask)
    transactions.close()


def test_pruning_reads_what_it_deletes(many: Database) -> None:
    """The last test: it takes images away."""
    batches = many.retention.prune(scored_before=utc_now(), model_versions=[1], batch_rows=100)
    few_rows(lambda: next(batches))
