"""Random samples of unflagged images, drawn with known probabilities: what the recall is measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sniffer.core.errors import SettingsError
from sniffer.core.review_records import DecisionRow


@dataclass(frozen=True, slots=True)
class SampleStratum:
    """A stratum of a night's frame: scores from `low` up to below `high`, its images, and how many were drawn.

    `probability` is that of each of its images of being drawn; None of a stratum without any.
    """

    stratum: int
    low: float
    high: float
    population: int
    drawn: int
    probability: float | None


@dataclass(frozen=True, slots=True)
class SampledImage:
    """An image that was drawn; `probability` is that of its being in the sample, above 0 and at most 1."""

    image_id: int
    model_version: int
    score: float
    stratum: int
    probability: float

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 1:
            raise SettingsError(f"image {self.image_id}: no probability of being drawn is {self.probability:g}")


@dataclass(frozen=True, slots=True)
class NightlySample:
    """What was drawn of one certified scan in a night."""

    night: date
    scan_number: int
    strata: tuple[SampleStratum, ...]
    images: tuple[SampledImage, ...]


@dataclass(frozen=True, slots=True)
class ReviewedSample:
    """A drawn image, its bucket, and its live decisions, none while it waits."""

    image: SampledImage
    bucket: str
    decisions: Sequence[DecisionRow]
