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
    label is positive on one reviewer's word alone.
    Raises ValueError for counts that do not fit into one another.
    """

    population: Counts
    labels: Counts
    positives: Counts
    log_odds: Values
    flagged: Flags
    twice: Values
    confirmed: Flags

    def __post_init__(self) -> None:
        if np.any(self.positives < 0) or np.any(self.positives > self.labels) or np.any(self.labels > self.population):
            raise ValueError("a stratum has more positives than labels, or more labels than images")

    def with_positives(self, positives: Counts) -> Cells:
        """The same sample, where fewer of the labels count as positive: those of one kind of drug."""
        return dataclasses.replace(self, positives=positives)

    def only(self, kept: Flags) -> Cells:
        """Those of the strata."""
        return Cells(*(getattr(self, field.name)[kept] for field in dataclasses.fields(self)))
