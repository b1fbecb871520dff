"""How many images of each stratum to audit, so that recall is known best for a given number of labels. Pure."""

from __future__ import annotations

import numpy as np

from sniffer.recall.cells import Counts, Flags
from sniffer.recall.gamma import Values

FLAGGED = 0.2
"""This share of the labels is of flagged images, which reviewers see anyway: for how many of them are right."""
FLOOR = 0.2
"""This share of the others is spread evenly over all unflagged images, whatever the score promises."""
SMALLEST, SMALLEST_SHARE = 2, 1 / 600
"""At least so many images of each stratum are drawn, and at least this share of all labels, if it has them."""


def allocation(population: Counts, expected: Values, flagged: Flags, labels: int) -> Counts:
    """Images to draw of each stratum, about `labels` in all; each count is known before any image is chosen.

    `expected` is each stratum's expected share of drugs. On either side of the threshold the variance of the number of
    drugs, and with it that of recall, is least where labels go by N sqrt(p (1 - p)) (Neyman, 1934). FLOOR and SMALLEST
    guard against a score that promises too little. Raises ValueError for no stratum.
    """
    if not len(population):
        raise ValueError("there is no stratum to draw from")
    by_spread = population * np.sqrt(expected * (1 - expected))
    unflagged = np.where(flagged, 0.0, population)
    among = (1 - FLOOR) * _normal(np.where(flagged, 0.0, by_spread)) + FLOOR * _normal(unflagged)
    shares = FLAGGED * _normal(np.where(flagged, by_spread, 0.0)) + (1 - FLAGGED) * among
    smallest = max(SMALLEST, int(labels * SMALLEST_SHARE))
    counts: Counts = np.minimum(np.maximum(np.ceil(labels * shares).astype(np.int64), smallest), population)
    return counts


def _normal(values: Values) -> Values:
    total = values.sum()
    shares: Values = values / total if total > 0 else values
    return shares


def expected_shares(log_odds: Values, height: float, slope: float) -> Values:
    """The share of drugs that a score promises: ln(p / (1 - p)) = height + slope * log-odds of the score."""
    line = np.clip(height + slope * log_odds, -40, 40)
    shares: Values = np.clip(1 / (1 + np.exp(-line)), 1e-12, 1 - 1e-9)
    return shares
