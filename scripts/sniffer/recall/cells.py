"""What an audit has seen: strata of images by score, how many were labelled, and what the labels said. Pure."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sniffer.recall.gamma import Values

Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Cells:
    """Strata of one frame, or of several added up; arrays of the same length, one place for each stratum.

    `population` counts the images, `labels` those of them that were drawn and decided, `positives` those of `labels`
    that are drugs. `log_odds` is where the stratum lies: the mean of ln(score / (1 - score)). `flagged`: the strata at
    or above the threshold. `twice` is the share of the labels without drugs that two reviewers saw; `confirmed`: no
    label is positive on one reviewer's word alone. The images of a place were drawn with about the same chance, within
    a factor of 2. `weighted` sums 1 / chance over its positives, `squared` the square of it, and `largest` is the
    largest; each made larger where some of the drawn images are undecided.
    Raises ValueError for counts that do not fit into one another.
    """

    population: Counts
    labels: Counts
    positives: Counts
    log_odds: Values
    flagged: Flags
    twice: Values
    confirmed: Flags
    weighted: Values
    squared: Values
    largest: Values

    @classmethod
    def even(
        cls,
        population: Counts,
        labels: Counts,
        positives: Counts,
        log_odds: Values,
        flagged: Flags,
        twice: Values,
        confirmed: Flags,
    ) -> Cells:
        """Of strata each of which was drawn from with one chance, all of whose sample is decided."""
        weight = population / np.maximum(labels, 1)
        sums = (positives * weight, positives * weight**2, weight)
        return cls(population, labels, positives, log_odds, flagged, twice, confirmed, *sums)

    def __post_init__(self) -> None:
        if np.any(self.positives < 0) or np.any(self.positives > self.labels) or np.any(self.labels > self.population):
            raise ValueError("a stratum has more positives than labels, or more labels than images")

    def with_positives(self, positives: Counts, weighted: Values, squared: Values) -> Cells:
        """The same sample, where fewer of the labels count as positive: those of one kind of drug."""
        return dataclasses.replace(self, positives=positives, weighted=weighted, squared=squared)

    def only(self, kept: Flags) -> Cells:
        """Those of the strata."""
        return Cells(*(getattr(self, field.name)[kept] for field in dataclasses.fields(self)))
