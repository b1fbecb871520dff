"""What programs do with the roles of several of them, one after another; on both servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from support.audited import certified_scan, decide_all, spread_scores
from support.database_servers import DatabaseServer
from support.database_users import url_of, users
from support.ended_scans import certificate_of
from support.stored_rows import model

from sniffer.adapters.mysql.database import Database
from sniffer.core.key_ranges import KeyRange
from sniffer.core.records import ScanRequest
from sniffer.core.review_records import SecondReview
from sniffer.core.settings import DatabaseSettings
from sniffer.core.shard_records import ShardPart
from sniffer.recall import measure
from sniffer.recall.draw import draw_all
from sniffer.retention.erase import erase

pytestmark = pytest.mark.both_servers


@contextmanager
def connected(database_url: str, role: str) -> Iterator[Database]:
    with Database(DatabaseSettings(url_of(database_url, role), patience_s=0)) as database:
        database.check()
        yield database


def test_shards_end_early_and_are_certified_and_their_ends_erased(
    database: Database, database_url: str, database_server: DatabaseServer
) -> None:
    """A part that was killed is fenced off where its end is erased."""
    ranges = [(KeyRange("", "k"), 1), (KeyRange("k"), 1)]
    with (
        users(database_server, database_url, "sniffer_scan", "sniffer_retention"),
        connected(database_url, "sniffer_scan") as own,
        connected(database_url, "sniffer_retention") as retention,
    ):
        request = ScanRequest("whole", "bkt")
        first, second = own.shards.plan(request, 1, 0.5, ranges).parts

        def scanned(part: ShardPart, up_to: str | None = None) -> None:
            token = own.scans.open(replace(request, scan_id=part.scan_id, key_range=part.key_range), 1, 0.5)
            keys = replace(part.key_range, up_to=up_to or part.key_range.up_to)
            ended = certificate_of({}, scan_id=part.scan_id, run_number=token.run_number, key_range=keys)
            own.scans.close(replace(ended, rest_after=up_to))

        scanned(first, "d")
        own.scans.open(replace(request, scan_id=second.scan_id, key_range=second.key_range), 1, 0.5, lease_s=-600)
        erase(retention, "bkt", key="k", prefix="", requested_by="me", reason="a test")
        own.shards.give_up("whole")
        known = own.shards.find("whole")
        assert known is not None and "k" not in {part.key_range.after for part in known.parts}
        for part in known.parts:
            if not part.is_complete:
                scanned(part)
        assert own.shards.certify("whole", lambda *_: certificate_of({}, scan_id="whole")).holds


def test_recall_is_drawn_and_measured_by_the_fleet_and_read_by_the_gate(
    database: Database, database_url: str, database_server: DatabaseServer
) -> None:
    database.models.register(model(1))
    database.models.promote(1)
    certified_scan(database, "night", spread_scores(60, seed=1)[0])
    with users(database_server, database_url, "sniffer_scan", "sniffer_trainer", "sniffer_reader"):
        with connected(database_url, "sniffer_scan") as own:
            assert draw_all(own, labels=20).samples[0].is_new
            decide_all(database, "ann", lambda _: True, second=SecondReview(0.0))
            assert measure.measure(own, datetime.now(UTC).date()).measured and own.recall.latest(1)
        with connected(database_url, "sniffer_trainer") as gate:
            assert gate.recall.prevalence(datetime.now(UTC), 35) is not None
        with connected(database_url, "sniffer_reader") as watching:
            assert (watching.state.read().held, watching.state.read().broken) == (0, 0)
