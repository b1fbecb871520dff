"""With a million flagged images, nine in ten of them decided, no page, lease, batch or decision reads in proportion."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.database_servers import DatabaseServer
from support.many_rows import IMAGE_ROWS, IMAGES, counted_reads
from support.reviewed import LEASE_S

from sniffer.adapters.mysql.database import Database
from sniffer.core.records import ScanRequest
from sniffer.core.review_records import (
    EVERYTHING,
    NewDecision,
    QueueFilter,
    QueueOrder,
    ReviewDecision,
    SecondReview,
)
from sniffer.core.settings import DatabaseSettings
from sniffer_local.mariadb import create_database, drop_database
from sniffer_local.mysql import MySql

pytestmark = pytest.mark.slow

NAME = "many_flagged"
MODEL = f"""
    INSERT INTO models
        (version, digest, backbone_digest, preprocessing_version, threshold, metrics, judged, production, registered_at)
    VALUES (1, '{"d" * 64}', '{"b" * 64}', 'p1', 0.1, '{{}}', 'blessed', 'stable', UTC_TIMESTAMP(6))
"""
SCORE = "0.1 + 0.9 * CONV(LEFT(SHA2(image_id, 256), 8), 16, 10) / 4294967296"
FLAGGED = f"""
    INSERT INTO predictions (image_id, model_version, scan_number, run_number, outcome, score, scored_hash, scored_at)
    SELECT image_id, 1, 1, 1, 'predicted', {SCORE}, content_hash, UTC_TIMESTAMP(6) FROM images
"""
# The highest scores were decided, so that whoever begins at the top of the predictions would walk over them all.
DECIDED = """
    INSERT INTO review_decisions (image_id, content_hash, decision, reviewer, decided_at, model_version, score,
        threshold, entered_by, probability, submit_key)
    SELECT p.image_id, p.scored_hash, 'not_drug', CONCAT('r', p.image_id % 9),
        '2026-11-20' + INTERVAL p.image_id SECOND, 1, p.score, 0.1, IF(p.image_id % 20, 'flagged', 'second'), 1, 'all'
    FROM predictions p WHERE p.score > 0.19
"""
HASHED = """
    INSERT INTO near_duplicates (image_id, perceptual_hash, part_1, part_2, part_3, part_4, computed_at)
    SELECT image_id, UNHEX(LEFT(h, 16)), CONV(SUBSTR(h, 1, 4), 16, 10), CONV(SUBSTR(h, 5, 4), 16, 10),
        CONV(SUBSTR(h, 9, 4), 16, 10), CONV(SUBSTR(h, 13, 4), 16, 10), UTC_TIMESTAMP(6)
    FROM (SELECT image_id, SHA2(CONCAT('look', image_id), 256) AS h FROM images) hashed
"""
WAITING = """
    INSERT INTO review_queue
    SELECT p.image_id, FALSE, 'flagged', '', 1, p.score, 1, i.bucket, UTC_TIMESTAMP(6)
    FROM predictions p JOIN images i ON i.image_id = p.image_id WHERE p.score <= 0.19
"""


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def many(request: pytest.FixtureRequest) -> Iterator[Database]:
    server: DatabaseServer = request.getfixturevalue(f"{request.param}_server")
    server.start()
    drop_database(server.site, NAME)
    url = create_database(server.site, NAME)
    with Database(DatabaseSettings(url)) as database:
        database.migrate()
        database.scans.open(ScanRequest("s1", "large"), 1, 0.1)
        server.site.execute("SET GLOBAL innodb_buffer_pool_size = 1073741824")
        if isinstance(server, MySql):
            server.site.execute("ALTER INSTANCE DISABLE INNODB REDO_LOG")
        fast = "SET SESSION unique_checks = 0, foreign_key_checks = 0"
        statements = (fast, MODEL, IMAGE_ROWS, FLAGGED, DECIDED, HASHED, WAITING)
        server.site.execute(f"USE {NAME}", *statements)
        tables = "images, predictions, review_decisions, review_queue, near_duplicates"
        server.site.rows("ANALYZE TABLE " + ", ".join(f"{NAME}.{table}" for table in tables.split(", ")))
        if isinstance(server, MySql):
            server.site.execute("ALTER INSTANCE ENABLE INNODB REDO_LOG")
        yield database
    drop_database(server.site, NAME)


def few_rows(query: Callable[[], object], most: int) -> None:
    with counted_reads() as reads:
        query()
    assert reads.plans, "nothing was asked"
    assert reads.rows <= most, f"{reads.rows:,} rows were read:\n" + "\n".join(reads.plans)
    assert reads.walks == [], "a whole table may be read:\n" + "\n".join(reads.plans)


PAGE = 20
PAGE_ROWS = 12_000
"""Of a page without a filter: one step of the queue, and some look-ups for each of its rows."""


@pytest.mark.parametrize("order", list(QueueOrder))
@pytest.mark.parametrize("asked", [EVERYTHING, QueueFilter(bucket="quiet"), QueueFilter(low=0.12, high=0.15)])
def test_a_page_costs_a_page_wherever_it_begins(many: Database, order: QueueOrder, asked: QueueFilter) -> None:
    after = None
    for _ in range(3):
        with counted_reads() as reads:
            page = many.review_queue.page(asked, "ann", PAGE, after, order=order)
        assert reads.rows <= PAGE_ROWS, f"{reads.rows:,} rows were read:\n" + "\n".join(reads.plans)
        assert reads.walks == [], "\n".join(reads.plans)
        assert len(page.items) == PAGE and page.after is not None
        after = page.after


def test_a_filter_that_leaves_out_all_ends_after_so_many_rows(many: Database) -> None:
    few_rows(lambda: many.review_queue.page(QueueFilter(prefix="v/"), "ann", PAGE), most=20 * PAGE_ROWS)


def test_leases_batches_and_decisions_cost_what_they_are_about(many: Database) -> None:
    items = many.review_queue.page(EVERYTHING, "ann", PAGE).items
    ids = [item.image_id for item in items]
    few_rows(lambda: many.review_queue.near(items[0], "ann"), most=8000)
    few_rows(lambda: many.review_leases.take(ids, "ann", LEASE_S), most=2000)
    few_rows(lambda: many.review_leases.renew(ids, "ann", LEASE_S), most=500)
    few_rows(lambda: many.review_leases.held("ann"), most=1000)
    news = [NewDecision(image_id, ReviewDecision.NOT_DRUG) for image_id in ids]
    add = many.review_decisions.add
    second = SecondReview(1.0)
    few_rows(lambda: add(news, reviewer="ann", submit_key="some", second=second), most=4000)
    few_rows(lambda: add(news, reviewer="ann", submit_key="some"), most=200)
    few_rows(lambda: many.review_decisions.latest(PAGE), most=500)
    few_rows(lambda: many.review_decisions.latest(PAGE, reviewer="r3"), most=500)
    few_rows(lambda: many.review_decisions.of_image(ids[0]), most=50)
    few_rows(lambda: next(many.review_decisions.live_pages(100)), most=2000)
    few_rows(lambda: many.review_queue.without_hash(PAGE), most=20 * PAGE_ROWS)


@pytest.mark.timeout(1200)
def test_a_refresh_costs_so_many_rows_for_each_flagged_image(many: Database) -> None:
    with counted_reads() as reads:
        assert many.review_queue.refresh(10_000) == 0
    assert reads.rows < 60 * IMAGES, f"{reads.rows:,} rows were read"
    assert many.review_queue.backlog() > IMAGES // 20
