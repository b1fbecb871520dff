"""Figures of a binary classifier from true classes and scores: pure functions on numpy arrays.

`truth` is boolean (is it drugs?), `scores` are float, both [n]; an image is flagged when its score >= the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Truth = NDArray[np.bool_]
Scores = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of flagged and unflagged images at one threshold."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def precision(self) -> float | None:
        """Share of the flagged that is right; None when nothing is flagged."""
        flagged = self.true_positives + self.false_positives
        return self.true_positives / flagged if flagged else None

    @property
    def recall(self) -> float | None:
        """Share of the positives that is flagged; None without positives."""
        positives = self.true_positives + self.false_negatives
        return self.true_positives / positives if positives else None


@dataclass(frozen=True, slots=True)
class ThresholdChoice:
    """A threshold and whether it keeps what its rule promises on the data it was chosen on."""

    threshold: float
    target_precision: float
    target_reached: bool


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
    positives = int(np.sum(truth))
    negatives = len(truth) - positives
    if not positives or not negatives:
        raise ValueError("ROC-AUC needs both classes")
    rank_sum = float(np.sum(_mean_ranks(scores)[truth]))
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def pr_auc(truth: Truth, scores: Scores) -> float:
    """Average precision: the sum over distinct thresholds of (recall gained) × precision, not interpolated.

    Raises ValueError without positives.
    """
    if not np.any(truth):
        raise ValueError("PR-AUC needs positives")
    _, true_positives, flagged = _cumulative(truth, scores)
    gained = np.diff(true_positives, prepend=0) / true_positives[-1]
    return float(np.sum(gained * true_positives / flagged))


def choose_threshold(truth: Truth, scores: Scores, target_precision: float) -> ThresholdChoice:
    """Of the thresholds whose precision reaches the target, the one with most recall; of equals, the most precise.

    When none reaches it: the most precise, with `target_reached` False. The threshold is put half-way to the
    next lower score, so that rounding a score on its way does not unflag it. Raises ValueError without positives.
    """
    if not np.any(truth):
        raise ValueError("a threshold needs positives to be chosen on")
    values, true_positives, flagged = _cumulative(truth, scores)
    precision = true_positives / flagged
    reached = precision >= target_precision
    if np.any(reached):
        # lexsort's last key is the first that counts.
        best = int(np.lexsort((precision, np.where(reached, true_positives, -1)))[-1])
    else:
        best = int(np.lexsort((true_positives, precision))[-1])
    lower = values[best + 1] if best + 1 < len(values) else values[best]
    return ThresholdChoice(float((values[best] + lower) / 2), target_precision, bool(reached[best]))


def _cumulative(truth: Truth, scores: Scores) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """For each distinct score, highest first: the score, and the true positives and flagged at or above it."""
    values, inverse = np.unique(-scores.astype(np.float64), return_inverse=True)
    flagged = np.cumsum(np.bincount(inverse, minlength=len(values)))
    true_positives = np.cumsum(np.bincount(inverse[truth], minlength=len(values)))
    return -values, true_positives, flagged


def _mean_ranks(scores: Scores) -> NDArray[np.float64]:
    """Ranks from 1, equal scores sharing the mean of theirs."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: NDArray[np.float64] = last - (counts - 1) / 2
    return mean[inverse]
