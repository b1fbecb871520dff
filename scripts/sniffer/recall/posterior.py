"""How many drugs each stratum holds, given the labels of a sample: draws from the posterior of a hierarchical model.

The share of drugs in a stratum is a Beta variable around what the score promises, ln(p / (1 - p)) = a + b z, with z the
stratum's log-odds of the score. What a scored image is worth (a, b), and how far strata stray from that line (c), are
learnt from the same labels, flagged strata included. Where labels are many, a stratum speaks for itself; where they are
few, as in the far tail, the line does, and how unsure it is. A small weight lies on drugs that the score knows nothing
of (e): a single one that is found in the tail outweighs the line. Bayes' rule on a grid for (a, b, c, e); given these,
the shares by Gibbs sampling through the reviewers' errors. No normal approximation, so counts of 0 are no special case.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sniffer.recall.cells import Cells, Counts
from sniffer.recall.gamma import Values, log_gamma
from sniffer.recall.reviewers import Errors

METHOD = "hierarchical-beta-1"
"""Kept with each figure: figures of different methods are not compared."""

_CONCENTRATIONS = np.array([1.0, 3.0, 10.0, 30.0, 100.0, 300.0])
_UNSEEN_SHARES = 10.0 ** np.array([-6.5, -5.5, -4.5, -3.5, -2.5])
_UNSEEN_WEIGHT = 0.01
_STEPS = 13
_REACH = 3.5
_ZOOMS = 4
_SWEEPS = 12


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed of the score before the labels: the line's height is that of this prevalence.

    A calibrated score has the slope 1. The spreads are standard deviations: of ln(odds), and of ln(slope).
    """

    prevalence: float = 1e-3
    height_spread: float = 3.0
    slope: float = 1.0
    slope_spread: float = 0.6


@dataclass(frozen=True, slots=True)
class Posterior:
    """What the labels allow: `drugs` in each stratum, labelled or not, as [draws, strata]; each row is one answer.

    `height` and `slope` are the medians of the line of the score, by which the next audit is planned.
    """

    drugs: Counts
    height: float
    slope: float


def posterior(cells: Cells, errors: Errors, prior: Prior, draws: int, seed: np.random.Generator) -> Posterior:
    """Draws from the posterior. `errors` has draws of the reviewers' rates, as many as are asked for here."""
    height, slope, concentration, unseen = _hyper(cells, errors, prior, draws, seed)
    mean = _mean(cells.log_odds, height[:, None], slope[:, None], unseen[:, None])
    drugs = _gibbs(cells, errors, *_shapes(mean, concentration[:, None]), seed)
    return Posterior(drugs, float(np.median(height)), float(np.median(slope)))


def _mean(log_odds: Values, height: Values, slope: Values, unseen: Values) -> Values:
    line = 1 / (1 + np.exp(-np.clip(height + slope * log_odds, -40, 40)))
    mean: Values = np.clip(line + unseen * (1 - line), 1e-12, 1 - 1e-9)
    return mean


def _shapes(mean: Values, concentration: Values) -> tuple[Values, Values]:
    """The Beta distribution of that mean whose ln(odds) varies by about 1 / concentration, wherever the mean is."""
    return concentration / (1 - mean), concentration / mean


def _log_likelihood(cells: Cells, errors: Errors, mean: Values, concentration: Values) -> Values:
    """Of the labels of all strata, the shares integrated out; the last axis of `mean` is the strata."""
    found, false = errors.typical(cells)
    first, second = _shapes(np.clip(mean * found + (1 - mean) * false, 1e-12, 1 - 1e-9), concentration)
    negatives = (cells.labels - cells.positives).astype(float)
    both = first + second
    total: Values = np.sum(
        log_gamma(first + cells.positives)
        - log_gamma(first)
        + log_gamma(second + negatives)
        - log_gamma(second)
        - log_gamma(both + cells.labels)
        + log_gamma(both),
        axis=-1,
    )
    return total


def _hyper(
    cells: Cells, errors: Errors, prior: Prior, draws: int, seed: np.random.Generator
) -> tuple[Values, Values, Values, Values]:
    """Draws of height, slope, concentration and unseen share, [draws] each."""
    used = cells.only(cells.labels > 0)
    base = np.log(prior.prevalence / (1 - prior.prevalence))
    centre = np.array([base, np.log(prior.slope)])
    axes = np.diag([prior.height_spread, prior.slope_spread])
    grid = np.stack(np.meshgrid(*[np.linspace(-_REACH, _REACH, _STEPS)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)

    def log_posterior(points: Values, concentration: Values, unseen: Values) -> Values:
        height, slope = points[:, 0], np.exp(points[:, 1])
        shape = (len(points), len(concentration), len(unseen), 1)
        mean = _mean(
            used.log_odds, height.reshape(-1, 1, 1, 1), slope.reshape(-1, 1, 1, 1), unseen.reshape(1, 1, -1, 1)
        )
        likelihood = _log_likelihood(used, errors, mean, np.broadcast_to(concentration.reshape(1, -1, 1, 1), shape))
        believed = -0.5 * (
            ((points[:, 0] - base) / prior.height_spread) ** 2
            + ((points[:, 1] - np.log(prior.slope)) / prior.slope_spread) ** 2
        )
        total: Values = likelihood + believed[:, None, None]
        return total

    for _ in range(_ZOOMS):
        points = centre + grid @ axes.T
        weight = _weights(log_posterior(points, _CONCENTRATIONS[1::3], np.zeros(1))).sum(axis=(1, 2))
        centre = weight @ points
        spread = (points - centre).T @ ((points - centre) * weight[:, None])
        # Never below the grid's own step: a single point of it may carry all the weight.
        step = axes * (2 * _REACH / (_STEPS - 1)) * 0.4
        axes = np.linalg.cholesky(spread + step @ step.T + 1e-12 * np.eye(2))
    points = centre + grid @ axes.T
    unseen = np.concatenate([[0.0], _UNSEEN_SHARES])
    log_weight = np.log(np.concatenate([[1 - _UNSEEN_WEIGHT], np.full(len(_UNSEEN_SHARES), _UNSEEN_WEIGHT / 5)]))
    weight = _weights(log_posterior(points, _CONCENTRATIONS, unseen) + log_weight)
    chosen = np.unravel_index(seed.choice(weight.size, size=draws, p=weight.ravel()), weight.shape)
    jitter = (seed.random((draws, 2)) - 0.5) * (2 * _REACH / (_STEPS - 1))
    at = points[chosen[0]] + jitter @ axes.T
    return at[:, 0], np.exp(at[:, 1]), _CONCENTRATIONS[chosen[1]], unseen[chosen[2]]


def _weights(log_weight: Values) -> Values:
    weight = np.exp(log_weight - log_weight.max())
    normal: Values = weight / weight.sum()
    return normal


def _gibbs(cells: Cells, errors: Errors, first: Values, second: Values, seed: np.random.Generator) -> Counts:
    """Drugs of each stratum: shares, and which labels are wrong, by turns; then those of the images without a label."""
    found, false = errors.rates(cells)
    negatives = cells.labels - cells.positives
    share = np.clip(seed.beta(first + cells.positives, second + negatives), 1e-15, 1 - 1e-12)
    drugs = np.zeros(share.shape, dtype=np.int64)
    for _ in range(_SWEEPS if errors.has_any else 1):
        right = share * found / (share * found + (1 - share) * false)
        missed = share * (1 - found) / (share * (1 - found) + (1 - share) * (1 - false))
        drugs = seed.binomial(cells.positives, right) + seed.binomial(negatives, missed)
        share = np.clip(seed.beta(first + drugs, second + cells.labels - drugs), 1e-15, 1 - 1e-12)
    whole: Counts = drugs + seed.binomial(cells.population - cells.labels, share)
    return whole
