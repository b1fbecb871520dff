"""How far a figure may be off although every bootstrap draw gives the same: by the images that nobody has seen yet.

A bootstrap draws from the images that are there, so a model that ranks ten images perfectly does so in every draw. At
the confidence of the intervals, a share of each class that shrinks with its size (unseen_share) may yet be of a kind
that is not among the images; here it gets the worst place in the ranking, or the best.
"""

from __future__ import annotations

import numpy as np

from sniffer_model.statistics.metrics import Band, Ranking, Values
from sniffer_model.statistics.shares import unseen_share

Counts = tuple[Values, Values]
"""True and false positives at each step, as Ranking.counts() gives them."""


def unseen_ranking(ranking: Ranking, confidence: float) -> tuple[Counts, Counts]:
    """The counts with the unseen share of each class at its worst place, and those with it at its best."""
    right, wrong = ranking.counts()
    drugs, others = right[-1], wrong[-1]
    unseen_drugs, unseen_others = (unseen_share(images, confidence) for images in (drugs, others))
    seen_right, seen_wrong = (1 - unseen_drugs) * right, (1 - unseen_others) * wrong
    first = unseen_others * others
    worst = _steps([0], seen_right, [drugs]), _steps([first], first + seen_wrong, [others])
    first = unseen_drugs * drugs
    best = _steps([first], first + seen_right, [drugs]), _steps([0], seen_wrong, [others])
    return worst, best


def extended(band: Band, low: Values | float, high: Values | float) -> Band:
    """The band, and where its interval is a single point, the one from `low` to `high` as well."""
    certain = band.low == band.high
    return Band(
        band.values,
        np.where(certain, np.fmin(band.low, low), band.low),
        np.where(certain, np.fmax(band.high, high), band.high),
    )


def _steps(before: list[float], seen: Values, after: list[float]) -> Values:
    return np.concatenate([before, seen, after])
