"""What the labels alone exclude, whatever the score is worth: intervals of weighted Poisson sums.

By the gamma intervals of Fay and Feuer (1997) with the mid-P correction of Fay and Kim (2017). Each upper end allows
for one more positive of the largest weight, so where few of many images are drawn it is far off: rule of three.
"""

from __future__ import annotations

import numpy as np

from sniffer.recall.cells import Cells
from sniffer.recall.gamma import Values

_DRAWS = 20_000


def weighted_sum(cells: Cells) -> float:
    """Drugs in these strata by inverse probability weighting: each positive label stands for 1 / its chance."""
    return float(np.sum(cells.weighted))


def design_interval(cells: Cells, confidence: float, seed: np.random.Generator) -> tuple[float, float]:
    """Both ends for the number of drugs in these strata."""
    total, variance = float(np.sum(cells.weighted)), float(np.sum(cells.squared))
    largest = float(cells.largest.max(initial=0.0))
    lower = _gamma(total, variance, seed)
    upper = _gamma(total + largest, variance + largest**2, seed)
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(np.concatenate([lower, upper]), [tail, 100 - tail])
    return float(low), float(min(high, cells.population.sum()))


def _gamma(mean: float, variance: float, seed: np.random.Generator) -> Values:
    return seed.gamma(mean**2 / variance, variance / mean, size=_DRAWS) if variance else np.zeros(_DRAWS)
