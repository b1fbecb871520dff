"""Whether the newest night is like the nights before it: by the share of flagged images, and by all scores. Pure.

Nights differ by more than chance, so each test takes the spread between nights from the past, not from a formula. Of m
past nights and the newest one, values that are about normal, (newest - mean) / (s sqrt(1 + 1/m)) has Student's t
distribution with m - 1 degrees of freedom, whatever their spread. The value is ln(odds) of the flagged share, tested on
both sides; and of all scores the logarithm of the chi-squared distance between a night's histogram and the mean of the
others, tested on one. Each is an alarm below ALARM_BELOW, so that a bucket that is scanned each night and does not
change has about one false alarm a year.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sniffer.recall.gamma import Values

ALARM_BELOW = 0.5 / 365
FEWEST_NIGHTS = 7


@dataclass(frozen=True, slots=True)
class Night:
    """What a bucket's scans of a night have scored."""

    scored: int
    flagged: int
    histogram: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Drift:
    """The newest night's value, the usual one, and how unlikely it is; the last two None with too few nights."""

    value: float
    usual: float | None
    p_value: float | None


def flagged_share(nights: Sequence[Night]) -> Drift:
    """Of the last of these nights against the others."""
    values = np.array([math.log((night.flagged + 0.5) / (night.scored - night.flagged + 0.5)) for night in nights])
    last = nights[-1]
    share = last.flagged / last.scored if last.scored else 0.0
    if len(nights) <= FEWEST_NIGHTS:
        return Drift(share, None, None)
    usual = 1 / (1 + math.exp(-values[:-1].mean()))
    # Where the past shows less spread than counting alone has, as with no flag in any night, counting has the say.
    counting = math.sqrt(
        1 / (last.flagged + 0.5) + float(np.mean([1 / (night.flagged + 0.5) for night in nights[:-1]]))
    )
    return Drift(share, usual, min(1.0, 2 * _tail(values, counting, both=True)))


def scores(nights: Sequence[Night]) -> Drift:
    """Of the last of these nights' scores against those of the others."""
    shares = np.array([np.array(night.histogram) / max(sum(night.histogram), 1) for night in nights])
    # Bins that hold next to nothing say nothing, and would divide by it.
    kept = shares.mean(axis=0) > 1e-4
    shares = np.concatenate([shares[:, kept], shares[:, ~kept].sum(axis=1, keepdims=True)], axis=1)
    past = shares[:-1]
    if len(nights) <= FEWEST_NIGHTS:
        return Drift(0.0, None, None)
    total = past.sum(axis=0)
    own = [_distance(one, (total - one) / (len(past) - 1)) for one in past]
    newest = _distance(shares[-1], total / len(past))
    values = np.log(np.maximum([*own, newest], 1e-12))
    return Drift(newest, float(np.exp(values[:-1].mean())), _tail(values, 0.0, both=False))


def _distance(one: Values, usual: Values) -> float:
    """Chi-squared distance, with every bin kept off 0."""
    return float(np.sum((one - usual) ** 2 / (usual + 1e-6)))


def _tail(values: Values, least_spread: float, *, both: bool) -> float:
    """How likely Student's t is at least as far up as the last value is from the others; either way with `both`."""
    past, newest = values[:-1], values[-1]
    spread = float(past.std(ddof=1)) * math.sqrt(1 + 1 / len(past))
    distance = float(newest - past.mean())
    distance = abs(distance) if both else distance
    spread = max(spread, least_spread)
    if spread <= 0:
        return 1.0 if distance <= 0 else 0.0
    return student_tail(distance / spread, len(past) - 1)


def student_tail(t: float, degrees: int) -> float:
    """P(T >= t) of Student's t, to 1e-6, by the area under the density of atan(T / sqrt(degrees))."""
    angle = math.atan(t / math.sqrt(degrees))
    grid = np.linspace(angle, math.pi / 2, 4001)
    density = np.cos(grid) ** (degrees - 1)
    whole = math.sqrt(math.pi) * math.exp(math.lgamma(degrees / 2) - math.lgamma((degrees + 1) / 2))
    return float(np.sum((density[1:] + density[:-1]) / 2) * (grid[1] - grid[0]) / whole)
