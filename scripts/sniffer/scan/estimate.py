"""The answer of a dry run: how many images are new, and how long a scan would take at the last measured rate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from sniffer.core.records import ScanRequest
from sniffer.scan.listing import ListingTally


@dataclass(frozen=True, slots=True)
class ScanEstimate:
    """What a scan would find. `images_per_s` and `duration_s` are None before any scan has measured a rate."""

    bucket: str
    prefix: str
    model_version: int
    listed: int
    unchanged: int
    new: int
    images_per_s: float | None
    duration_s: float | None
    dry_run: bool = True
    """Tells the JSON of an estimate from that of a certificate."""

    @classmethod
    def of(
        cls, request: ScanRequest, model_version: int, tally: ListingTally, new: int, images_per_s: float | None
    ) -> Self:
        """Work out the duration from the number of new images."""
        duration_s = round(new / images_per_s, 1) if images_per_s else None
        return cls(
            request.bucket,
            request.prefix,
            model_version,
            tally.listed,
            tally.unchanged,
            new,
            images_per_s,
            duration_s,
        )

    def describe(self) -> str:
        """For a person, as text."""
        if self.duration_s is None:
            time = "no scan has measured a rate yet, so the time cannot be estimated"
        else:
            duration = timedelta(seconds=round(self.duration_s))
            time = f"about {duration} at the last measured {self.images_per_s:.1f} images/s"
        return (
            f"dry run of s3://{self.bucket}/{self.prefix}: {self.listed} listed, {self.unchanged} unchanged, "
            f"{self.new} to score with model version {self.model_version}\n{time}; nothing was changed"
        )
