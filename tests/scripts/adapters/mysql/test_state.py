"""What waits for a person is told until somebody has acted, whatever has ended meanwhile; on both servers."""

from __future__ import annotations

import dataclasses
import math
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from support.all_tables import all_tables
from support.ended_scans import certificate_of
from support.stored_rows import change, model, predicted, record, rows

from sniffer.adapters.metrics.meters import PrometheusMetrics
from sniffer.adapters.mysql.database import Database
from sniffer.core.flag_records import Deciding
from sniffer.core.key_ranges import KeyRange
from sniffer.core.metrics import TABLES, Giver
from sniffer.core.recall_records import DriftTest
from sniffer.core.recall_words import FLAGGED_SHARE, SCORES
from sniffer.core.records import Outcome, ScanRequest
from sniffer.core.settings import DatabaseSettings
from sniffer.scan.state_metrics import show_state, watch

pytestmark = pytest.mark.both_servers
DAY = datetime(2026, 11, 20, tzinfo=UTC)


def end(database: Database, scan_id: str, *, holds: bool, held: str = "", **asked: Any) -> None:
    request = dataclasses.replace(ScanRequest(scan_id, "bkt"), **asked)
    token = database.scans.open(request, 1, 0.5)
    problems = () if holds else ("a digest that differs",)
    ended = certificate_of(
        {Outcome.UNCHANGED: 1}, scan_id=scan_id, run_number=token.run_number, held=held, problems=problems
    )
    assert ended.holds is (holds and not held)
    database.scans.close(ended)


def waiting(database: Database) -> tuple[int, int]:
    state = database.state.read()
    return state.held, state.broken


def test_a_broken_certificate_counts_until_its_scan_is_run_again(database: Database) -> None:
    end(database, "night", holds=False)
    end(database, "other", holds=True, prefix="other/")
    assert waiting(database) == (0, 1)
    end(database, "night", holds=True)
    assert waiting(database) == (0, 0)


def test_or_until_a_later_one_covers_it_and_no_other_does(database: Database) -> None:
    window: dict[str, Any] = {"since": DAY, "until": DAY + timedelta(days=1)}
    end(database, "earlier", holds=True)
    end(database, "night", holds=False, **window)
    end(database, "next", holds=True, since=DAY + timedelta(days=1), until=DAY + timedelta(days=2))
    end(database, "some", holds=True, limit=5)
    end(database, "suffix", holds=True, include=(".jpg",))
    assert waiting(database) == (0, 1)
    end(database, "all", holds=True)
    assert waiting(database) == (0, 0)


def test_who_scans_some_of_its_keys_or_what_failed_covers_nothing_else(database: Database) -> None:
    end(database, "night", holds=False)
    end(database, "some keys", holds=True, key_range=KeyRange("", "k"))
    end(database, "failed", holds=True, retry_failed=True)
    assert waiting(database) == (0, 1)
    end(database, "range", holds=False, prefix="p/", key_range=KeyRange("a", "k"))
    end(database, "other range", holds=True, prefix="p/", key_range=KeyRange("a", "j"))
    assert waiting(database) == (0, 2)
    end(database, "same range", holds=True, prefix="p/", key_range=KeyRange("a", "k"))
    assert waiting(database) == (0, 1)


def test_it_is_forgotten_after_a_season(database: Database, database_url: str) -> None:
    end(database, "night", holds=False)
    change(database_url, "UPDATE scans SET finished_at = finished_at - INTERVAL 91 DAY")
    assert waiting(database) == (0, 0)


def test_a_shard_counts_until_its_plan_is_given_up(database: Database) -> None:
    plan = ScanRequest("plan", "bkt")
    first, second = database.shards.plan(plan, 1, 0.5, [(KeyRange("", "k"), 1), (KeyRange("k"), 1)]).parts
    end(database, first.scan_id, holds=False, key_range=first.key_range)
    end(database, second.scan_id, holds=True, key_range=second.key_range)
    assert waiting(database) == (0, 1), "the other shard is no later scan of the same keys"
    database.shards.give_up("plan")
    assert waiting(database) == (0, 0)


def test_a_held_scan_counts_until_it_is_decided_and_a_whole_is_one(database: Database) -> None:
    end(database, "night", holds=True, held="a flood")
    plan = ScanRequest("plan", "bkt")
    first, _ = database.shards.plan(plan, 1, 0.5, [(KeyRange("", "k"), 1), (KeyRange("k"), 1)]).parts
    token = database.scans.open(ScanRequest(first.scan_id, "bkt", key_range=first.key_range), 1, 0.5)
    record(database, [predicted("a", 0.9)], token=token)
    database.holds.hold_plan(token, "a flood")
    assert waiting(database) == (2, 0)
    database.holds.release(Deciding("plan", "jo", "checked"))
    assert waiting(database) == (1, 0)
    database.holds.discard(Deciding("night", "jo", "broken"))
    assert waiting(database) == (0, 0)


def test_what_was_never_read_is_no_number(caplog: pytest.LogCaptureFixture) -> None:
    registry = CollectorRegistry()

    def looked(_: float) -> None:
        raise InterruptedError

    nowhere = DatabaseSettings("mysql+mysqldb://a:b@127.0.0.1:1/x", patience_s=0)
    with Database(nowhere) as away, pytest.raises(InterruptedError):
        watch(PrometheusMetrics(Giver.STATE, registry), away, looked)
    assert "the state is not known: MySQL at " in caplog.text
    for name in ("sniffer_held_scans", "sniffer_broken_scans"):
        assert math.isnan(registry.get_sample_value(name) or 0)
    assert registry.get_sample_value("sniffer_state_read_timestamp_seconds") == 0


def test_prometheus_is_told_with_the_sizes_of_all_tables(database: Database, database_url: str) -> None:
    end(database, "night", holds=False)
    registry = CollectorRegistry()
    metrics = PrometheusMetrics(Giver.STATE, registry)
    show_state(metrics, database)
    assert registry.get_sample_value("sniffer_broken_scans") == 1
    assert registry.get_sample_value("sniffer_held_scans") == 0
    read_at = registry.get_sample_value("sniffer_state_read_timestamp_seconds") or 0
    assert abs(read_at - time.time()) < 60
    assert tuple(sorted(all_tables().tables)) == TABLES
    sizes = {name: registry.get_sample_value("sniffer_table_bytes", {"table": name}) for name in TABLES}
    assert all((size or 0) >= 16_384 for size in sizes.values()), sizes
    assert registry.get_sample_value("sniffer_table_bytes", {"table": "other"}) is None
    assert len(rows(database_url, "SELECT 1 FROM scans")) == 1


def test_prometheus_is_told_of_the_newest_night_of_each_bucket_and_of_none_that_is_over(database: Database) -> None:
    registry = CollectorRegistry()
    metrics = PrometheusMetrics(Giver.STATE, registry)
    today = datetime.now(UTC).date()

    def shown(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    def tested(days_ago: int, bucket: str, p_value: float | None, version: int = 1, threshold: float = 0.5) -> None:
        usual = None if p_value is None else 0.01
        night = today - timedelta(days=days_ago)
        shares = DriftTest(bucket, night, FLAGGED_SHARE, 0.3, usual, p_value, 0.001, 9)
        tests = [shares, dataclasses.replace(shares, kind=SCORES, value=7.0, p_value=usual and 0.5)]
        database.drift.store(tests, version, threshold)

    for version in (1, 2):
        database.models.register(model(version))
    database.models.promote(1)
    tested(2, "pics", 1e-4)
    tested(1, "new", None)
    tested(0, "pics", 1e-9, version=2)
    tested(0, "pics", 1e-9, threshold=0.7)
    tested(36, "old", 1e-9)
    show_state(metrics, database)
    assert shown("sniffer_drift_alarm", bucket="pics", kind="flagged_share") == 1
    assert shown("sniffer_drift_alarm", bucket="pics", kind="scores") == 0
    assert shown("sniffer_drift_p_value", bucket="pics", kind="flagged_share") == 1e-4
    assert shown("sniffer_flagged_share", bucket="pics", of="newest") == 0.3
    assert shown("sniffer_flagged_share", bucket="pics", of="past") == 0.01
    assert shown("sniffer_flagged_share", bucket="new", of="newest") == 0.3
    assert shown("sniffer_flagged_share", bucket="new", of="past") is None
    assert shown("sniffer_drift_p_value", bucket="new", kind="scores") is None
    assert shown("sniffer_drift_alarm", bucket="old", kind="scores") is None
    tested(1, "pics", 0.2)
    show_state(metrics, database)
    assert shown("sniffer_drift_alarm", bucket="pics", kind="flagged_share") == 0
    database.models.promote(2)
    show_state(metrics, database)
    assert shown("sniffer_drift_alarm", bucket="new", kind="scores") is None
    assert shown("sniffer_drift_p_value", bucket="pics", kind="flagged_share") == 1e-9
    assert "None" not in generate_latest(registry).decode() and "nan" not in generate_latest(registry).decode()
