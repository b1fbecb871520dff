"""What a count of images can carry: exact intervals of shares, of differences of paired shares, and corrected tests.

Every image counts as one independent draw, so near-duplicates must be left out beforehand. Intervals hold at least as
often as they say, also where none or all of the images are counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import betainc, betaincinv

from sniffer_model.statistics.metrics import Band, Values, ratio


def share(part: Values, whole: Values, confidence: float) -> Band:
    """part / whole with its interval (Clopper & Pearson, Biometrika 1934); NaN where the whole is zero."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    tail, rest = (1 - confidence) / 2, whole - part
    with np.errstate(invalid="ignore"):
        low = np.where(part > 0, betaincinv(np.maximum(part, 1), rest + 1, tail), 0.0)
        high = np.where(rest > 0, betaincinv(part + 1, np.maximum(rest, 1), 1 - tail), 1.0)
    nothing = whole == 0
    return Band(ratio(part, whole), np.where(nothing, np.nan, low), np.where(nothing, np.nan, high))


def unseen_share(images: float, confidence: float) -> float:
    """How large a share of images may be of a kind that none of this many is: the interval's end for a count of 0."""
    return float(share(np.array(0.0), np.array(images), confidence).high)


def images_needed(largest_share: float, confidence: float) -> int:
    """The fewest images that show a share of at most this, when none of them is counted."""
    tail = (1 - confidence) / 2
    return int(np.ceil(np.log(tail) / np.log1p(-largest_share)))


def paired_difference(gained: Values, lost: Values, whole: Values, confidence: float) -> Band:
    """(gained - lost) / whole, of images that only one of two models counts.

    Both counts have an interval at half the error, so that the difference holds at least as often as it says.
    """
    each = 1 - (1 - confidence) / 2
    more, fewer = share(gained, whole, each), share(lost, whole, each)
    return Band(more.values - fewer.values, more.low - fewer.high, more.high - fewer.low)


def loss_p_value(lost: int, gained: int) -> float:
    """How likely at least that many of the images that differ are lost, were each as likely gained (McNemar, exact)."""
    return float(betainc(lost, gained + 1, 0.5)) if lost else 1.0


def holm(p_values: Sequence[float], error_rate: float) -> list[bool]:
    """Which hypotheses to reject, so that the chance of rejecting any true one is at most `error_rate` (Holm, 1979)."""
    rejected = [False] * len(p_values)
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[index] > error_rate / (len(p_values) - rank):
            break
        rejected[index] = True
    return rejected
