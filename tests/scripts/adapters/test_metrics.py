"""Figures kept in this process: bounded labels, totals, retries, and the wait for the last reader."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry

from sniffer.adapters.metrics.disk import show_disk
from sniffer.adapters.metrics.meters import PrometheusMetrics
from sniffer.adapters.metrics.page import LastReading, served
from sniffer.adapters.metrics.targets import announced
from sniffer.core.errors import SettingsError
from sniffer.core.metrics import (
    CERTIFICATES,
    CORRECTED,
    DISK_FREE,
    DISK_SIZE,
    IMAGES,
    METRICS,
    NEXT_DUE,
    RETRIES,
    ROWS,
    STAGE_SECONDS,
    Giver,
    Kind,
    counting_retries,
    each_timed,
)
from sniffer.core.records import ListedObject, Outcome
from sniffer.core.retry import Retry, RetryLater
from sniffer.core.settings import MetricsSettings
from sniffer.scan.figures import show_scan
from sniffer.scan.ledger import Ledger
from sniffer.scan.listing import ListingTally
from sniffer_local.processes import free_port


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def test_a_label_has_foreseen_values_only(registry: CollectorRegistry) -> None:
    metrics = PrometheusMetrics(Giver.CONSUMER, registry)
    metrics.add(ROWS, outcome="unreadable", code="uploads/secret-key.jpg")
    metrics.add(ROWS, outcome="unreadable", code="empty")
    assert registry.get_sample_value(ROWS.name, {"outcome": "unreadable", "code": "other"}) == 1
    assert registry.get_sample_value(ROWS.name, {"outcome": "unreadable", "code": "empty"}) == 1


def test_a_label_of_dags_takes_ids_only(registry: CollectorRegistry) -> None:
    metrics = PrometheusMetrics(Giver.PRODUCER, registry)
    metrics.set(NEXT_DUE, 5, dag="scan_uploads")
    metrics.set(NEXT_DUE, 6, dag="uploads/secret key.jpg")
    assert registry.get_sample_value(NEXT_DUE.name, {"dag": "scan_uploads"}) == 5
    assert registry.get_sample_value(NEXT_DUE.name, {"dag": "other"}) == 6


def test_room_is_looked_up_at_each_reading(registry: CollectorRegistry, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    metrics = PrometheusMetrics(Giver.CONSUMER, registry)
    folders = {"temporary": tmp_path, "result": gone}
    with served(registry, MetricsSettings(0), LastReading(0), partial(show_disk, metrics, folders)) as port:
        gone.rmdir()
        with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            assert b'sniffer_disk_size_bytes{folder="temporary"}' in answer.read()
    usage = shutil.disk_usage(tmp_path)
    assert registry.get_sample_value(DISK_SIZE.name, {"folder": "temporary"}) == usage.total
    free = registry.get_sample_value(DISK_FREE.name, {"folder": "temporary"})
    assert free == pytest.approx(usage.free, abs=1 << 30)  # others write meanwhile
    assert registry.get_sample_value(DISK_SIZE.name, {"folder": "result"}) is None


def test_names_keep_to_prometheus_conventions() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert metric.name.startswith("sniffer_")
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
        assert (metric.kind is Kind.HISTOGRAM) == bool(metric.buckets) == metric.name.endswith("_seconds") or (
            metric.name.endswith("_timestamp_seconds")
        )


def test_each_retry_counts_for_its_system(registry: CollectorRegistry) -> None:
    metrics = PrometheusMetrics(Giver.CONSUMER, registry)
    answers: Iterator[int] = iter([503, 503, 200])

    def attempt() -> int:
        if (status := next(answers)) != 200:
            raise RetryLater(str(status))
        return status

    retry = Retry("it", "wait", 60, on_retry=counting_retries(metrics, "serving"))
    assert retry.call(attempt, sleep=lambda _: None) == 200
    assert registry.get_sample_value(RETRIES.name, {"system": "serving"}) == 2
    assert registry.get_sample_value(RETRIES.name, {"system": "mysql"}) == 0


def test_an_image_that_counts_otherwise_in_the_end_lowers_no_counter(
    registry: CollectorRegistry, listed: ListedObject
) -> None:
    metrics, ledger, tally = (
        PrometheusMetrics(Giver.PRODUCER, registry),
        Ledger(deadline_s=9, held_bytes=99),
        ListingTally(),
    )

    def images(outcome: str) -> float | None:
        show_scan(metrics, tally, ledger)
        return registry.get_sample_value(IMAGES.name, {"outcome": outcome})

    # Two consumers have the image: the one that is given it second gives it up, the first has scored it.
    ledger.add(listed)
    for name in (b"first", b"second"):
        entry = ledger.next_to_fetch()
        assert entry is not None
        ledger.fetched(entry.number, b"body", 1.0)
        ledger.join(name, 1, 1.0)
        assert ledger.next_grant(1.0) is not None
        if name == b"first":
            ledger.mark_dead_and_requeue(name, blames=False)
    ledger.settle(b"second", 0, Outcome.FAILED, 2.0)
    assert (images("failed"), images("predicted")) == (1, 0)
    ledger.settle(b"first", 0, Outcome.PREDICTED, 3.0)
    assert (images("failed"), images("predicted")) == (1, 1)
    assert registry.get_sample_value(CORRECTED.name, {"outcome": "failed"}) == 1
    assert ledger.counts[Outcome.FAILED] == 0


@pytest.fixture
def listed() -> ListedObject:
    return ListedObject("bkt", "key", "etag", 4, datetime(2026, 1, 1, tzinfo=UTC))


def test_each_item_and_an_error_are_timed(registry: CollectorRegistry) -> None:
    metrics = PrometheusMetrics(Giver.PRODUCER, registry)
    assert list(each_timed(metrics, STAGE_SECONDS, iter("abc"), stage="list")) == ["a", "b", "c"]
    with pytest.raises(OSError), metrics.timed(STAGE_SECONDS, stage="fetch"):
        raise OSError
    assert registry.get_sample_value(f"{STAGE_SECONDS.name}_count", {"stage": "fetch"}) == 1


def test_a_scan_that_is_done_waits_for_one_reader_of_its_last_figures(registry: CollectorRegistry) -> None:
    reading = LastReading(60.0)
    metrics = PrometheusMetrics(Giver.PRODUCER, registry, reading)
    with served(registry, MetricsSettings(0), reading) as port:
        url = f"http://127.0.0.1:{port}/metrics"
        with urlopen(url) as answer:  # of the figures before the last: it ends no wait
            assert b"sniffer_images_total" in answer.read()
        metrics.linger()  # not before there is an end
        metrics.add(CERTIFICATES, result="holds", of="scan")
        metrics.conclude()
        waiting = threading.Thread(target=metrics.linger)
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
        with urlopen(url) as answer:
            assert b'sniffer_certificates_total{of="scan",result="holds"} 1.0' in answer.read()
        waiting.join(30)
        assert not waiting.is_alive()


def test_nobody_is_waited_for_longer_than_asked_or_once_told(registry: CollectorRegistry) -> None:
    began_at = time.monotonic()
    alone = PrometheusMetrics(Giver.PRODUCER, registry, LastReading(0.05))
    told = PrometheusMetrics(Giver.PRODUCER, CollectorRegistry(), LastReading(600.0))
    told.stop_lingering()
    for metrics in (alone, told):
        metrics.conclude()
        metrics.linger()
    assert time.monotonic() - began_at < 60


@pytest.mark.parametrize("settings", [MetricsSettings(0, "203.0.113.7"), MetricsSettings(0, "no such host")])
def test_an_address_that_is_not_ours_is_a_setting(registry: CollectorRegistry, settings: MetricsSettings) -> None:
    with pytest.raises(SettingsError, match="--metrics-host"), served(registry, settings, LastReading(0)):
        pass


def test_prometheus_is_told_of_who_runs_and_of_nobody_else(tmp_path: Path) -> None:
    folder = tmp_path / "targets"
    with announced(folder, "127.0.0.1", 1):
        ours = folder / f"sniffer-{os.getpid()}.json"
        assert json.loads(ours.read_text()) == [{"targets": ["127.0.0.1:1"]}]
        with subprocess.Popen(["true"]) as ended:
            ended.wait()
        killed, foreign = folder / f"sniffer-{ended.pid}.json", folder / "other.json"
        for file in (killed, foreign):
            file.write_text("[]")
        with announced(folder, "127.0.0.1", 2):
            assert sorted(folder.iterdir()) == sorted([ours, foreign])
    assert list(folder.iterdir()) == [foreign]
    with pytest.raises(SettingsError, match="SNIFFER_METRICS_TARGETS"), announced(foreign / "x", "127.0.0.1", 1):
        pass


def test_a_port_is_had_once(registry: CollectorRegistry) -> None:
    settings = MetricsSettings(free_port())
    with served(registry, settings, LastReading(0)):
        with pytest.raises(SettingsError, match=f"port {settings.port}"), served(registry, settings, LastReading(0)):
            pass
        with served(registry, replace(settings, port=0), LastReading(0)) as other:
            assert other != settings.port
