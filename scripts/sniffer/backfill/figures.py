"""From what was counted in a bucket to hours, requests and money, each with what it rests on."""

from __future__ import annotations

from dataclasses import dataclass

from sniffer.backfill.counting import BucketCount
from sniffer.core.estimate_records import BackfillEstimate, ClassFigures, Span
from sniffer.core.measured_scan import MeasuredScan
from sniffer.core.rates import Rates
from sniffer.core.shard_records import ShardedScan
from sniffer.scan.estimate import scoring_times

_GB = 1e9
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class EstimateBasis:
    """What an estimate goes by: the scan that measured its pace, None without one, the fleet, and the prices.

    `at_a_time` shards are scanned at the same time, each as that scan was. `growth` is the share by which the bucket
    may grow, None where nobody has to approve.
    """

    measured: MeasuredScan | None
    at_a_time: int
    rates: Rates
    growth: float | None = None
    listing_s: float = 0.0


def estimate_of(whole: ShardedScan, count: BucketCount, basis: EstimateBasis) -> BackfillEstimate:
    """The estimate of that plan. Its digest is that of whoever stores it."""
    rates, to_fetch = basis.rates, count.to_fetch.figures()
    new = sum(one.objects for one in to_fetch)
    duplicates = count.contents.duplicates()
    predicted = Span(new - duplicates.most, new - duplicates.likely, new - duplicates.least)
    hours = _hours(new, predicted, len(count.shards), basis)
    parts = _prices(count.requests, to_fetch, predicted.likely, hours, rates)
    return BackfillEstimate(
        scan_id=whole.request.scan_id,
        bucket=whole.request.bucket,
        prefix=whole.request.prefix,
        model_version=whole.model_version,
        listed=count.listed,
        size_bytes=count.size_bytes,
        unchanged=count.unchanged,
        skipped=count.skipped,
        refused=count.refused,
        archived=count.archived.figures(),
        may_be_archived=count.may_be_archived,
        unfetched=count.unfetched,
        to_fetch=to_fetch,
        duplicates=duplicates,
        list_requests=count.requests,
        get_requests=new,
        at_a_time=basis.at_a_time,
        hours=hours and _rounded(hours),
        gpu_hours=hours and _rounded(hours.times(rates.gpus)),
        cost=hours and _rounded(_cost(count.requests, to_fetch, predicted, hours, rates)),
        cost_parts={name: round(price, 2) for name, price in parts.items()},
        currency=rates.currency,
        rates_as_of=rates.as_of.isoformat(),
        rates_are_examples=rates.are_examples,
        images_per_s=basis.measured.images_per_s if basis.measured else None,
        consumers=basis.measured.consumers if basis.measured else None,
        basis=basis.measured.scan_id if basis.measured else None,
        shard_count=len(count.shards),
        growth=basis.growth,
        shards=tuple(count.shards[shard] for shard in sorted(count.shards)),
    )


def _hours(new: int, predicted: Span, shards: int, basis: EstimateBasis) -> Span | None:
    """How long so many shards at a time take.

    At best each is as fast as the scan that was measured was alone, and duplicates cost nothing; at worst all of them
    together are no faster than it.
    """
    if basis.measured is None:
        return None
    most_at_a_time = max(1, min(basis.at_a_time, shards))
    least_s, _, _ = scoring_times(basis.measured, round(predicted.least))
    _, likely_s, most_s = scoring_times(basis.measured, new)
    starts_s = basis.measured.overhead_s * max(0, shards - 1) if new else 0.0
    listing_s = basis.listing_s
    return Span(
        max(least_s / most_at_a_time, listing_s),
        max((likely_s + starts_s) / most_at_a_time, listing_s),
        max(most_s + starts_s, listing_s),
    ).times(1 / _HOUR_S)


def _cost(list_requests: int, to_fetch: tuple[ClassFigures, ...], predicted: Span, hours: Span, rates: Rates) -> Span:
    ends = zip(
        (predicted.least, predicted.likely, predicted.most), (hours.least, hours.likely, hours.most), strict=True
    )
    return Span(
        *(
            sum(_prices(list_requests, to_fetch, images, Span(time_h, time_h, time_h), rates).values())
            for images, time_h in ends
        )
    )


def _prices(
    list_requests: int, to_fetch: tuple[ClassFigures, ...], predicted: float, hours: Span | None, rates: Rates
) -> dict[str, float]:
    """What each part costs. The listing is that of the scan, which costs as much as that of the estimate."""
    prices = {
        "S3 LIST requests": list_requests / 1000 * rates.list_per_1000,
        "S3 GET requests": sum(one.objects / 1000 * _get(one, rates) for one in to_fetch),
        "S3 retrieval": sum(
            one.size_bytes / _GB * rates.of_class(one.storage_class).retrieval_per_gb for one in to_fetch
        ),
        "transfer": sum(one.size_bytes for one in to_fetch) / _GB * rates.transfer_per_gb
        + predicted / 1000 * rates.predicted_per_1000,
    }
    if hours is not None:
        prices["GPUs"] = hours.likely * rates.gpus * rates.gpu_hour
        prices["machines"] = hours.likely * rates.machines * rates.machine_hour
    return prices


def _get(one: ClassFigures, rates: Rates) -> float:
    return rates.of_class(one.storage_class).get_per_1000


def _rounded(span: Span) -> Span:
    return Span(round(span.least, 3), round(span.likely, 3), round(span.most, 3))
