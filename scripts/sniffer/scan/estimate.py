"""The answer of a dry run: how many images are new, and how long a scan would take by what scans have measured."""

from __future__ import annotations

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


def basis_of(measured: Sequence[MeasuredScan], bucket: str, consumers: int | None) -> MeasuredScan | None:
    """The scan to estimate by, of these, newest first; None without any.

    The newest one with as many consumers, then of the same bucket, whose images are alike; a large one before a small.
    """
    enough = [scan for scan in measured if scan.images >= ENOUGH_IMAGES]
    if not enough:
        return max(measured, key=lambda scan: scan.images, default=None)
    return max(enough, key=lambda scan: (consumers in (None, scan.consumers), scan.bucket == bucket))


@dataclass(frozen=True, slots=True)
class ScanEstimate:
    """What a scan would find. `images_per_s` and `duration_s` are None before any scan has measured its pace.

    `basis` is the scan that measured it, with so many `consumers`.
    """

    bucket: str
    prefix: str
    model_version: int
    listed: int
    unchanged: int
    new: int
    images_per_s: float | None
    duration_s: float | None
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
        duration_s = None
        if basis is not None:
            scoring_s = basis.overhead_s + new / basis.images_per_s if new else 0.0
            duration_s = round(max(listing_s, scoring_s), 1)
        return cls(
            bucket=request.bucket,
            prefix=request.prefix,
            model_version=model_version,
            listed=tally.listed,
            unchanged=tally.unchanged,
            new=new,
            images_per_s=basis.images_per_s if basis else None,
            duration_s=duration_s,
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
        if self.duration_s is None:
            return "no scan has measured its pace yet, so the time cannot be estimated"
        duration = timedelta(seconds=round(self.duration_s))
        consumers = "1 consumer" if self.consumers == 1 else f"{self.consumers} consumers"
        return f"about {duration}, at {self.images_per_s:.1f} images/s as {self.basis} measured with {consumers}"
