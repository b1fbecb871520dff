"""Figures of a binary classifier from true classes and scores: pure functions on numpy arrays.

`truth` is boolean (is it drugs?), `scores` are float, both [n]; an image is flagged when its score >= the threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sniffer.core.model_metrics import Confusion, IntervalEstimate

Truth = NDArray[np.bool_]
Scores = NDArray[np.floating]
Values = NDArray[np.float64]
Drawn = NDArray[np.float64]
"""How often each image was drawn, [resamples, n]."""

_CHUNK_VALUES = 1 << 20
_NO_IMAGE = 1e-300
"""Less than any image weighs."""


@dataclass(frozen=True, slots=True)
class Resampling:
    """How often, and with which seed, images are resampled to see how far a figure depends on the draw."""

    seed: int = 0
    resamples: int = 1000


@dataclass(frozen=True, slots=True)
class Band:
    """A figure of any shape with the ends of its intervals, of the same shape; NaN where undefined."""

    values: Values
    low: Values
    high: Values

    def estimate(self, *index: int) -> IntervalEstimate | None:
        """One figure of the band; None where it is undefined."""
        value, low, high = (float(part[index]) for part in (self.values, self.low, self.high))
        return None if np.isnan(value) else IntervalEstimate(value, low, high)

    def defined(self, *index: int) -> IntervalEstimate:
        """One figure of the band; raises ValueError where it is undefined."""
        found = self.estimate(*index)
        if found is None:
            raise ValueError("this figure is defined for every set of images with both classes")
        return found

    def joined(self, other: Band) -> Band:
        """The same figure with intervals that hold those of both."""
        return Band(self.values, np.fmin(self.low, other.low), np.fmax(self.high, other.high))


class Ranking:
    """Images by score, highest first, equal scores as one step: what every figure over thresholds is read from.

    `thresholds` [steps] are the distinct scores. Raises ValueError unless both classes are there.
    """

    def __init__(self, truth: Truth, scores: Scores) -> None:
        if not np.any(truth) or np.all(truth):
            raise ValueError("figures over thresholds need both classes")
        self._order = np.argsort(-scores.astype(np.float64), kind="stable")
        ordered = scores.astype(np.float64)[self._order]
        self._truth = truth[self._order]
        self._last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
        self.thresholds: Values = ordered[self._last]

    def counts(self, drawn: Drawn | None = None) -> tuple[Values, Values]:
        """True and false positives at each step, [steps], or for each row of `drawn`, [resamples, steps]."""
        ordered = np.ones(len(self._truth)) if drawn is None else drawn[..., self._order]
        flagged = np.cumsum(ordered, axis=-1)[..., self._last]
        right = np.cumsum(ordered * self._truth, axis=-1)[..., self._last]
        return right, flagged - right

    def steps_at(self, thresholds: Values) -> NDArray[np.intp]:
        """How many steps lie at or above each threshold: the index into counts() with a zero before it."""
        return np.searchsorted(-self.thresholds, -thresholds, side="right")


def confusion(truth: Truth, scores: Scores, threshold: float) -> Confusion:
    """Count how the threshold divides the images."""
    flagged = scores >= threshold
    return Confusion(
        true_positives=int(np.sum(flagged & truth)),
        false_positives=int(np.sum(flagged & ~truth)),
        false_negatives=int(np.sum(~flagged & truth)),
        true_negatives=int(np.sum(~flagged & ~truth)),
    )


def roc_auc(truth: Truth, scores: Scores) -> float:
    """Probability that a positive scores above a negative, ties counting half (Mann & Whitney, 1947).

    Raises ValueError unless both classes are there.
    """
    return float(roc_area(*Ranking(truth, scores).counts()))


def pr_auc(truth: Truth, scores: Scores) -> float:
    """Average precision: the sum over distinct thresholds of (recall gained) × precision, not interpolated.

    Raises ValueError unless both classes are there.
    """
    return float(pr_area(*Ranking(truth, scores).counts()))


def roc_area(right: Values, wrong: Values) -> Values:
    """ROC-AUC from counts(), whatever their leading dimensions."""
    gained, added = _steps(right), _steps(wrong)
    area: Values = np.sum(added * (right - gained / 2), axis=-1)
    return area / (right[..., -1] * wrong[..., -1])


def pr_area(right: Values, wrong: Values) -> Values:
    """PR-AUC (average precision) from counts(), whatever their leading dimensions."""
    # A resample may draw none of the first images: no flags there, and no recall gained either. Weights may be small.
    area: Values = np.sum(_steps(right) * right / np.maximum(right + wrong, _NO_IMAGE), axis=-1)
    return area / right[..., -1]


def _steps(counts: Values) -> Values:
    return np.diff(counts, axis=-1, prepend=0)


def resampled(truth: Truth, resampling: Resampling) -> Iterator[Drawn]:
    """Stratified bootstrap draws, a bounded number of rows at a time: each class keeps its size.

    The same seed and truth give the same draws, so that two models can be compared on the same ones.
    """
    rng = np.random.default_rng(resampling.seed)
    rows = max(1, _CHUNK_VALUES // len(truth))
    for start in range(0, resampling.resamples, rows):
        drawn = np.zeros((min(rows, resampling.resamples - start), len(truth)))
        for members in (np.flatnonzero(truth), np.flatnonzero(~truth)):
            drawn[:, members] = _draw_counts(rng, len(drawn), len(members))
        yield drawn


def _draw_counts(rng: np.random.Generator, rows: int, size: int) -> NDArray[np.intp]:
    """How often each of `size` is drawn in `size` draws with replacement, [rows, size]."""
    picks = rng.integers(size, size=(rows, size)) + size * np.arange(rows)[:, None]
    return np.bincount(picks.ravel(), minlength=rows * size).reshape(rows, size)


def bootstrap(
    truth: Truth, figures: Callable[[Drawn], Mapping[str, Values]], resampling: Resampling, confidence: float
) -> dict[str, Band]:
    """Every figure on the images themselves, with its percentile interval over the resamples.

    `figures` computes [rows, …] by name from draws [rows, n]. Efron & Tibshirani, "An Introduction to the
    Bootstrap", 1993, chapter 13.
    """
    chunks = [figures(drawn) for drawn in resampled(truth, resampling)]
    values = figures(np.ones((1, len(truth))))
    samples = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in values}
    return {name: Band(values[name][0], *interval(samples[name], confidence)) for name in values}


def interval(samples: Values, confidence: float) -> tuple[Values, Values]:
    """The percentile interval over the first axis; resamples where a figure is undefined (NaN) do not count.

    NaN where a figure is never defined.
    """
    tail = (1 - confidence) / 2
    # nanquantile sorts much slower, and warns of columns without a number.
    if not np.isnan(samples).any():
        low, high = np.quantile(samples, [tail, 1 - tail], axis=0)
        return low, high
    return _interval_of_defined(samples, tail)


def _interval_of_defined(samples: Values, tail: float) -> tuple[Values, Values]:
    columns = samples.reshape(len(samples), -1).T
    ends = np.full((2, len(columns)), np.nan)
    for index, column in enumerate(columns):
        defined = column[~np.isnan(column)]
        if len(defined):
            ends[:, index] = np.quantile(defined, [tail, 1 - tail])
    low, high = ends.reshape(2, *samples.shape[1:])
    return low, high


def ratio(part: Values, whole: Values) -> Values:
    """part / whole, NaN where the whole is zero."""
    shares: Values = np.full(np.broadcast(part, whole).shape, np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares
