"""Calibration: scores that say how likely drugs are, not merely which image is likelier.

One temperature on the log-odds, fitted on validation data (Guo et al., ICML 2017). It moves no image past another.
Both classes have the same say, as in training: a calibrated score is the probability of drugs where both classes are
equally likely beforehand. Where drugs are rarer, so is what a score stands for; nightly figures come from rates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sniffer_model.statistics.metrics import Drawn, Scores, Truth, Values

SCORE_MARGIN = 2.0**-23
"""Scores are kept this far from 0 and 1 before their log-odds are taken: a float32 can hold both ends exactly."""
LARGEST_LOSS = 23 * math.log(2)
"""The log loss of an image that is wrong with a score at that margin."""
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.1, 10.0
"""A fit ends here at the latest: separated data would sharpen without end, useless scores flatten without end."""

_HALVINGS = 60


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Images whose scores lie in [low, high): their mean score, and the share of drugs; both classes weigh the same."""

    low: float
    high: float
    images: int
    drugs: int
    mean_score: float
    drugs_share: float


def calibrated(scores: Scores, temperature: float) -> Values:
    """sigmoid(logit(score) / temperature), as float64; finite and inside (0, 1) for every score from 0 to 1."""
    return _sigmoid(_log_odds(scores) / temperature)


def fit_temperature(truth: Truth, scores: Scores) -> float:
    """The temperature of least log loss, from MIN_TEMPERATURE to MAX_TEMPERATURE; classes weigh the same.

    Fitted against Platt's smoothed targets, (n+ + 1) / (n+ + 2) and 1 / (n- + 2), so that a few separated images do
    not ask for certainty ("Probabilistic Outputs for Support Vector Machines", 1999). Raises ValueError unless both
    classes are there.
    """
    log_odds, weights = _log_odds(scores), balanced_weights(truth)
    targets = np.where(truth, 1 - 1 / (truth.sum() + 2), 1 / ((~truth).sum() + 2))

    def slope(sharpness: float) -> float:
        return float(np.sum(weights * log_odds * (_sigmoid(sharpness * log_odds) - targets)))

    # The loss is convex in 1 / temperature, so its slope changes sign once.
    low, high = 1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return min(max(2 / (low + high), MIN_TEMPERATURE), MAX_TEMPERATURE)


def log_loss(truth: Truth, scores: Scores) -> float:
    """Mean negative log-likelihood, both classes weighing the same; raises ValueError unless both are there."""
    return float(losses(truth, scores) @ balanced_weights(truth))


def losses(truth: Truth, scores: Scores) -> Values:
    """Each image's negative log-likelihood, [n]."""
    log_odds = _log_odds(scores)
    loss: Values = np.logaddexp(0, np.where(truth, -log_odds, log_odds))
    return loss


def balanced_weights(truth: Truth) -> Values:
    """Weights of sum 1, half of it for each class; raises ValueError unless both are there."""
    positives = int(np.sum(truth))
    if positives in (0, len(truth)):
        raise ValueError("calibration needs both classes")
    return np.where(truth, 0.5 / positives, 0.5 / (len(truth) - positives))


class Reliability:
    """How scores and shares of drugs agree within bins of equal width, for the images or for draws of them."""

    def __init__(self, truth: Truth, scores: Scores, bins: int = 10) -> None:
        self._edges = np.linspace(0, 1, bins + 1)
        member = np.minimum((scores.astype(np.float64) * bins).astype(int), bins - 1)
        weighted = np.eye(bins)[member] * balanced_weights(truth)[:, None]
        self._weights, self._images = weighted, np.bincount(member, minlength=bins)
        self._drugs = np.bincount(member[truth], minlength=bins)
        self._scores, self._truth = weighted * scores[:, None], weighted * truth[:, None]

    def expected_error(self, drawn: Drawn) -> Values:
        """The bins' |mean score - share of drugs|, weighted by their share of images (Naeini et al., AAAI 2015)."""
        error: Values = np.abs(drawn @ self._scores - drawn @ self._truth).sum(axis=-1)
        return error

    def bins(self) -> list[ReliabilityBin]:
        """The bins that hold images, lowest first."""
        weights, scores, truth = (part.sum(axis=0) for part in (self._weights, self._scores, self._truth))
        return [
            ReliabilityBin(
                float(self._edges[i]),
                float(self._edges[i + 1]),
                int(self._images[i]),
                int(self._drugs[i]),
                float(scores[i] / weights[i]),
                float(truth[i] / weights[i]),
            )
            for i in np.flatnonzero(self._images)
        ]


def _log_odds(scores: Scores) -> Values:
    inside = np.clip(scores.astype(np.float64), SCORE_MARGIN, 1 - SCORE_MARGIN)
    odds: Values = np.log(inside) - np.log1p(-inside)
    return odds


def _sigmoid(log_odds: Values) -> Values:
    # tanh neither overflows nor warns, whatever the temperature.
    half: Values = np.tanh(log_odds / 2)
    return (1 + half) / 2
