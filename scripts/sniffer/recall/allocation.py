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
    """Images to draw of each stratum, `labels` in all or all there are; each count is known before any is chosen.

    `expected` is each stratum's expected share of drugs. On either side of the threshold the variance of the number of
    drugs, and with it that of recall, is least where labels go by N sqrt(p (1 - p)) (Neyman, 1934). FLOOR and SMALLEST
    guard against a score that promises too little; with too few labels for both, each stratum has one at least.
    Raises ValueError for no stratum, and for fewer labels than strata that have images.
    """
    filled = int(np.count_nonzero(population))
    if not len(population):
        raise ValueError("there is no stratum to draw from")
    if labels < filled:
        raise ValueError(f"{labels} labels are too few for {filled} strata, each of which needs one")
    by_spread = population * np.sqrt(expected * (1 - expected))
    floor = (1 - FLAGGED) * FLOOR * _normal(np.where(flagged, 0.0, population))
    wanted = floor + (1 - FLAGGED) * (1 - FLOOR) * _normal(np.where(flagged, 0.0, by_spread))
    wanted += FLAGGED * _normal(np.where(flagged, by_spread, 0.0))
    smallest = max(SMALLEST, int(labels * SMALLEST_SHARE))
    least = np.minimum(np.maximum(np.floor(labels * floor).astype(np.int64), smallest), population)
    if least.sum() > labels:
        least = np.minimum(labels // filled, population)
    return _rounded(_within(wanted, least, population, labels), population, labels)


def _within(wanted: Values, least: Counts, most: Counts, total: int) -> Values:
    """In proportion to `wanted` but for these bounds, `total` in all or as near as bounds allow."""
    low, high = -60.0, 60.0
    for _ in range(100):
        middle = (low + high) / 2
        if np.clip(wanted * np.exp(middle), least, most).sum() > total:
            high = middle
        else:
            low = middle
    found: Values = np.clip(wanted * np.exp(low), least, most)
    return found


def _rounded(values: Values, most: Counts, total: int) -> Counts:
    """Down; what that leaves of the total goes where the most was cut off, one each."""
    counts = np.floor(values + 1e-9).astype(np.int64)
    left = min(total, int(most.sum())) - int(counts.sum())
    by_rest = np.argsort(counts - values, kind="stable")
    for place in by_rest[counts[by_rest] < most[by_rest]][: max(left, 0)]:
        counts[place] += 1
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
