"""The logarithm of the gamma function on arrays: numpy has none, and scipy is a package of the trainer only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

_SHIFT = 5


def log_gamma(values: Values) -> Values:
    """ln Γ(x) for x > 0, to 1e-9: Stirling's series, after small arguments are moved to where it converges."""
    is_small = values < _SHIFT
    below = np.where(is_small, values, 1.0)
    product = below.copy()
    for step in range(1, _SHIFT):
        product *= below + step
    moved = values + _SHIFT * is_small
    inverse = 1 / moved
    square = inverse * inverse
    series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680 - square / 1188))))
    result: Values = (moved - 0.5) * np.log(moved) - moved + (0.5 * np.log(2 * np.pi)) + series
    result -= np.log(product) * is_small
    return result
