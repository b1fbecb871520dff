"""What a scan tells Prometheus at its end: its certificate, that of all shards, and by when the next one is due."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from prometheus_client import CollectorRegistry
from support.stored_rows import model

from sniffer.adapters.metrics.meters import PrometheusMetrics
from sniffer.adapters.metrics.page import LastReading
from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import ContractError
from sniffer.core.key_ranges import KeyRange
from sniffer.core.metrics import Giver
from sniffer.core.records import Certificate, Outcome, ScanRequest
from sniffer.core.shard_records import ShardChoice
from sniffer.scan.certified_shards import certify_shards
from sniffer.scan.last_figures import LastFigures
from sniffer.scan.stored_shards import NextPart, next_part

DUE = datetime(2026, 11, 28, 6, tzinfo=UTC)
RUN = "scan_uploads/scheduled__2026-11-27T00:00:00+00:00"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def reading() -> LastReading:
    return LastReading(60.0)


@pytest.fixture
def last(registry: CollectorRegistry, reading: LastReading) -> Callable[[ShardChoice | None], LastFigures]:
    metrics = PrometheusMetrics(Giver.PRODUCER, registry, reading)
    return lambda choice: LastFigures(metrics, choice, RUN, DUE)


def certificate(**changes: object) -> Certificate:
    held = Certificate(
        scan_id="s",
        bucket="bkt",
        prefix="",
        since=None,
        until=None,
        limited=False,
        listing_digest=f"{1:064x}",
        listed=5,
        outcomes=dict.fromkeys(Outcome, 0) | {Outcome.PREDICTED: 5},
        flagged=1,
        model_version=1,
        model_digest="d" * 64,
        preprocessing_version="p1",
        threshold=0.5,
        duration_s=10.0,
        images_per_s=0.5,
    )
    return replace(held, **changes)  # type: ignore[arg-type]


def counted(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["of"], sample.labels["result"]): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "sniffer_certificates_total" and sample.value
    }


def due(registry: CollectorRegistry) -> float | None:
    return registry.get_sample_value("sniffer_next_scan_due_timestamp_seconds", {"dag": "scan_uploads"})


def is_final(reading: LastReading) -> bool:
    """Whether whoever reads now ends the wait."""
    reading.begins()()
    return reading._over.is_set()


def test_a_good_scan_of_the_schedule_says_by_when_the_next_is_due(
    registry: CollectorRegistry, reading: LastReading, last: Callable[[ShardChoice | None], LastFigures]
) -> None:
    assert not is_final(reading)
    last(None).show(certificate())
    assert counted(registry) == {("scan", "holds"): 1} and due(registry) == DUE.timestamp()
    assert is_final(reading)


@pytest.mark.parametrize(
    ("changes", "result"), [({"problems": ("31 failed",)}, "broken"), ({"held": "too many"}, "held")]
)
def test_one_that_does_not_hold_does_not(
    registry: CollectorRegistry,
    last: Callable[[ShardChoice | None], LastFigures],
    changes: dict[str, object],
    result: str,
) -> None:
    last(None).show(certificate(**changes))
    assert counted(registry) == {("scan", result): 1} and due(registry) is None


def test_the_shard_that_ends_last_says_it_for_all(
    database: Database,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    registry: CollectorRegistry,
    reading: LastReading,
    last: Callable[[ShardChoice | None], LastFigures],
) -> None:
    monkeypatch.setenv("SNIFFER_DATABASE_URL", database_url)
    database.models.register(model(1))
    database.shards.plan(ScanRequest("whole", "bkt", dag_run=RUN), 1, 0.5, [(KeyRange("", "m"), 1), (KeyRange("m"), 1)])
    for number in (1, 2):
        assert due(registry) is None
        choice = ShardChoice("whole", number)
        part = next_part(database, choice)
        assert isinstance(part, NextPart) and part.request.dag_run == RUN
        token = database.scans.open(part.request, 1, 0.5)
        done = certificate(
            scan_id=part.request.scan_id,
            run_number=token.run_number,
            key_range=part.request.key_range,
            listing_digest=f"{number:064x}",
        )
        database.scans.close(done)
        last(choice).show(done)
        assert is_final(reading)
    assert counted(registry) == {("shard", "holds"): 2, ("all_shards", "holds"): 1}
    assert due(registry) == DUE.timestamp()
    # A shard that was complete already, and may be what was killed before it could say so.
    last(ShardChoice("whole", 2)).show_complete(ShardChoice("whole", 2))
    assert counted(registry) == {("shard", "holds"): 2, ("all_shards", "holds"): 2}


def test_shards_that_do_not_fit_each_other_are_no_matter_of_the_last_one(
    database: Database,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    registry: CollectorRegistry,
    reading: LastReading,
    last: Callable[[ShardChoice | None], LastFigures],
) -> None:
    """Its certificate is stored: as an error of its own it would be retried for ever, and hide what is wrong."""
    monkeypatch.setenv("SNIFFER_DATABASE_URL", database_url)
    database.models.register(model(1))
    database.shards.plan(ScanRequest("whole", "bkt", dag_run=RUN), 1, 0.5, [(KeyRange("", "m"), 1), (KeyRange("m"), 1)])
    for number in (1, 2):
        choice = ShardChoice("whole", number)
        part = next_part(database, choice)
        assert isinstance(part, NextPart)
        token = database.scans.open(part.request, 1, 0.5)
        done = certificate(
            scan_id=part.request.scan_id,
            run_number=token.run_number,
            key_range=part.request.key_range,
            preprocessing_version=f"p{number}",  # an upgrade between them
        )
        database.scans.close(done)
        last(choice).show(done)
        assert is_final(reading)
    assert counted(registry) == {("shard", "holds"): 2, ("all_shards", "broken"): 1} and due(registry) is None
    last(choice).show_complete(choice)
    with pytest.raises(ContractError, match="are not shards of one scan: preprocessing_version"):
        certify_shards(database, "whole")
