"""The answer of a dry run: how many images are new, and how long a scan would take by what scans have measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from sniffer.core.measured_scan import MeasuredScan
from sniffer.core.records import ScanRequest
from sniffer.core.text import printable
from sniffer.scan.listing import ListingTally

ENOUGH_IMAGES = 300
"""A scan of fewer measures its pace poorly; it is the basis only where there is no better one."""
_PACE_ERROR = 0.15
"""By this share the pace that a scan of ENOUGH_IMAGES has measured may be off, which confirms ten batches."""
_MACHINE_ERROR = 1.2
"""By this factor the same scan may take longer, or less long, at another time."""


def basis_of(measured: Sequence[MeasuredScan], bucket: str, consumers: int | None) -> MeasuredScan | None:
    """The scan to estimate by, of these, newest first; None without any.

    The newest one with as many consumers, then of the same bucket, whose images are alike; a large one before a small.
    """
    enough = [scan for scan in measured if scan.images >= ENOUGH_IMAGES]
    if not enough:
        return max(measured, key=lambda scan: scan.images, default=None)
    return max(enough, key=lambda scan: (consumers in (None, scan.consumers), scan.bucket == bucket))


def scoring_times(basis: MeasuredScan, new: int) -> tuple[float, float, float]:
    """The shortest, the likeliest and the longest time that so many new images take, in seconds.

    Of the basis its whole duration is known for sure, its parts are not: the slower its pace was in truth, the less of
    it was start and end. Whatever they were, it is between nothing and all that grows with the number of images.
    """
    if not new:
        return 0.0, 0.0, 0.0
    in_proportion_s = basis.duration_s * new / basis.images
    # As of any mean, it shrinks with the root of how many there were.
    pace_error = 1 + _PACE_ERROR * math.sqrt(ENOUGH_IMAGES / basis.images)
    least_s, most_s = sorted((in_proportion_s, basis.duration_s))
    times = (
        min(max(basis.duration_s + (new - basis.images) * seconds_an_image, least_s), most_s)
        for seconds_an_image in (pace_error / basis.images_per_s, 1 / (pace_error * basis.images_per_s))
    )
    shortest_s, longest_s = sorted(times)
    likeliest_s = basis.overhead_s + new / basis.images_per_s
    return min(shortest_s, likeliest_s) / _MACHINE_ERROR, likeliest_s, max(longest_s, likeliest_s) * _MACHINE_ERROR


@dataclass(frozen=True, slots=True)
class ScanEstimate:
    """What a scan would find. `images_per_s` and `duration_s` are None before any scan has measured its pace.

    Nearly all scans take between `shortest_s` and `longest_s`, on the same machines. `basis` is the scan that measured
    it, with so many `consumers`.
    """

    bucket: str
    prefix: str
    model_version: int
    listed: int
    unchanged: int
    new: int
    images_per_s: float | None
    duration_s: float | None
    shortest_s: float | None = None
    longest_s: float | None = None
    basis: str | None = None
    consumers: int | None = None
    retry_failed: bool = False
    dry_run: bool = True
    """Tells the JSON of an estimate from that of a certificate."""

    @classmethod
    def of(
        cls,
        request: ScanRequest,
        model_version: int,
        tally: ListingTally,
        new: int,
        listing_s: float,
        basis: MeasuredScan | None,
    ) -> Self:
        """Work out the duration: scoring goes on while the bucket is listed, which took `listing_s` now."""
        shortest_s = duration_s = longest_s = None
        if basis is not None:
            shortest_s, duration_s, longest_s = (
                round(max(listing_s, scoring_s), 1) for scoring_s in scoring_times(basis, new)
            )
        return cls(
            bucket=request.bucket,
            prefix=request.prefix,
            model_version=model_version,
            listed=tally.listed,
            unchanged=tally.unchanged,
            new=new,
            images_per_s=basis.images_per_s if basis else None,
            duration_s=duration_s,
            shortest_s=shortest_s,
            longest_s=longest_s,
            basis=basis.scan_id if basis else None,
            consumers=basis.consumers if basis else None,
            retry_failed=request.retry_failed,
        )

    def describe(self) -> str:
        """For a person, as text."""
        return (
            f"dry run of s3://{self.bucket}/{printable(self.prefix)}: {self.listed} listed, "
            f"{self.unchanged} unchanged, "
            f"{self.new} to score with model version {self.model_version}\n{self._time()}; nothing was changed"
        )

    def _time(self) -> str:
        if not self.listed and self.retry_failed:
            return "no image under that prefix has failed, so a scan would have nothing to try again"
        if not self.listed:
            return "nothing is listed there, so a scan would have nothing to do: check bucket, prefix and times"
        if not self.new:
            return "every listed object has a result already, so a scan would score nothing"
        if self.duration_s is None or self.shortest_s is None or self.longest_s is None:
            return "no scan has measured its pace yet, so the time cannot be estimated"
        duration, shortest, longest = (
            timedelta(seconds=round(seconds)) for seconds in (self.duration_s, self.shortest_s, self.longest_s)
        )
        consumers = "1 consumer" if self.consumers == 1 else f"{self.consumers} consumers"
        return (
            f"about {duration} ({shortest} to {longest}), "
            f"at {self.images_per_s:.1f} images/s as {self.basis} measured with {consumers}"
        )
