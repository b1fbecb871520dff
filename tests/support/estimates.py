"""The estimate of a bucket that nobody has counted."""

from __future__ import annotations

from sniffer.core.estimate_records import BackfillEstimate, ClassFigures, ShardFigures, Span

ESTIMATE = BackfillEstimate(
    scan_id="whole",
    bucket="bkt",
    prefix="",
    model_version=1,
    listed=9,
    size_bytes=9_000,
    unchanged=1,
    skipped=0,
    refused=0,
    archived=(ClassFigures("GLACIER", 1, 1_000),),
    may_be_archived=0,
    unfetched=0,
    to_fetch=(ClassFigures("STANDARD", 7, 7_000),),
    duplicates=Span(1, 1, 1),
    list_requests=3,
    get_requests=7,
    at_a_time=2,
    hours=Span(1, 2, 4),
    gpu_hours=Span(1, 2, 4),
    cost=Span(3, 5, 8),
    cost_parts={"GPUs": 5},
    currency="USD",
    rates_as_of="2026-11-26",
    rates_are_examples=True,
    images_per_s=12.5,
    consumers=3,
    basis="night",
    shard_count=3,
    growth=0.5,
    shards=(ShardFigures(1, 3, 2, 3e8), ShardFigures(2, 3, 2, 1e8), ShardFigures(3, 3, 3, 2e8)),
)
"""Of three shards, of which the second has the oldest new images."""
