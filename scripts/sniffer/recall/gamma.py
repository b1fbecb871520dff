"""Ratios of the gamma function on arrays: numpy has none, and scipy is a package of the trainer only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

_SHIFT = 5


def log_rising(values: Values, steps: Values) -> Values:
    """ln(Γ(x + k) / Γ(x)) for x > 0 and whole k >= 0, to 1e-9 of itself; also where k is next to nothing beside x.

    By Stirling's series, after small arguments are moved to where it converges. `steps` has the shape of the last axes.
    """
    is_small = values < _SHIFT
    moved = values + _SHIFT * is_small
    whole = moved + steps
    result: Values = (moved - 0.5) * np.log1p(steps / moved) + steps * (np.log(whole) - 1)
    result += _series(1 / whole) - _series(1 / moved)
    if is_small.any():
        small, of_small = values[is_small], np.broadcast_to(steps, values.shape)[is_small]
        below, above = np.ones_like(small), np.ones_like(small)
        for step in range(_SHIFT):
            below *= small + step
            above *= small + of_small + step
        result[is_small] += np.log(below / above)
    return result


def _series(inverse: Values) -> Values:
    square = inverse * inverse
    series: Values = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680 - square / 1188))))
    return series
