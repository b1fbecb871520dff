"""What `sniffer recall draw` draws from: scans in shards, released ones, and none that is held; by an index."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from support.audited import THRESHOLD, certified_scan, decide_all, sharded_scan, spread_scores
from support.database_servers import DatabaseServer
from support.database_users import url_of, users
from support.ended_scans import certificate_of
from support.many_rows import counted_reads
from support.stored_rows import change, model, predicted, record, rows

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import SettingsError
from sniffer.core.flag_records import Deciding
from sniffer.core.records import Outcome, ScanRequest
from sniffer.core.settings import DatabaseSettings
from sniffer.recall.draw import draw_all
from sniffer.recall.measure import measure

pytestmark = pytest.mark.both_servers


@pytest.fixture
def database(database: Database) -> Database:
    """With a stable version 1, whose threshold is 0.5."""
    database.models.register(model(1))
    database.models.promote(1)
    return database


def test_a_scan_in_shards_is_one_frame(database: Database, database_url: str) -> None:
    scores, _ = spread_scores(400, seed=3)
    sharded_scan(database, "whole", scores[:250], [], scores[250:])
    shard = str(rows(database_url, "SELECT part_scan_id FROM shards LIMIT 1")[0][0])
    with pytest.raises(SettingsError, match="it is one shard: name the whole scan"):
        draw_all(database, scan_ids=[shard])
    [sample] = draw_all(database, labels=100).samples
    assert (sample.scan_id, sample.scored, sample.flagged) == ("whole", 400, sum(score >= 0.5 for score in scores))
    of_scans = "SELECT DISTINCT p.scan_number FROM review_samples r JOIN predictions p ON p.image_id = r.image_id"
    assert len(rows(database_url, of_scans)) == 2
    assert draw_all(database, labels=100).samples == ()


def test_the_walk_reads_each_row_once_in_order_of_an_index(database: Database) -> None:
    certified_scan(database, "one", spread_scores(300, seed=4)[0])
    certified_scan(database, "other", spread_scores(3000, seed=5)[0])
    frame = database.recall.frame("one")
    with counted_reads() as reads:
        assert sum(map(len, database.recall.walk(frame))) == 300
    assert reads.walks == [] and reads.rows < 320
    assert not any("filesort" in plan or "temporary" in plan for plan in reads.plans)


def test_a_held_scan_is_drawn_from_once_it_is_released(database: Database) -> None:
    token = database.scans.open(ScanRequest("flood", "bkt"), 1, THRESHOLD)
    record(database, [predicted(f"k{number}", 0.9 - number / 10) for number in range(9)], token=token)
    database.scans.close(
        certificate_of(
            {Outcome.PREDICTED: 9}, scan_id="flood", run_number=token.run_number, flagged=5, flagged_new=5, held="a"
        )
    )
    assert draw_all(database).samples == ()
    with pytest.raises(SettingsError, match="scan flood is held"):
        draw_all(database, scan_ids=["flood"])
    database.holds.release(Deciding("flood", "jo", "a test"))
    [sample] = draw_all(database).samples
    assert (sample.scored, sample.flagged) == (9, 5)


def test_the_fleet_s_role_draws_and_measures(
    database: Database, database_url: str, database_server: DatabaseServer
) -> None:
    scores, drugs = spread_scores(60, seed=6)
    certified_scan(database, "one", scores)
    with users(database_server, database_url, "sniffer_scan"):
        url = url_of(database_url, "sniffer_scan")
        with Database(DatabaseSettings(url, patience_s=0)) as fleet:
            assert draw_all(fleet).samples[0].drawn > 30
            assert decide_all(database, "ann", lambda _: drugs[0]) > 30
            assert measure(fleet, datetime.now(UTC).date()).measured


def test_a_scan_at_another_threshold_is_not_drawn_from(database: Database, database_url: str) -> None:
    certified_scan(database, "one", [0.1, 0.9])
    change(database_url, "UPDATE models SET threshold = 0.7")
    assert draw_all(database).samples == ()
    with pytest.raises(SettingsError, match="at the threshold 0.5, and recall is measured of version 1 at 0.7"):
        draw_all(database, scan_ids=["one"])
