"""What an earlier scan has measured of its speed, for the estimate of the next."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MeasuredScan:
    """A scan that has ended: `images` were not unchanged, and took `duration_s` in all.

    `images_per_s` is its pace once all consumers were at work, so start and end took what is left of the duration.
    """

    scan_id: str
    bucket: str
    images: int
    duration_s: float
    images_per_s: float
    consumers: int

    @property
    def overhead_s(self) -> float:
        """What start and end took, however many images there were."""
        return max(0.0, self.duration_s - self.images / self.images_per_s)
