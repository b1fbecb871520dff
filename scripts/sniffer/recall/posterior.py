"""How many drugs each stratum holds, given the labels of a sample: draws from the posterior of a hierarchical model.

The share of drugs in a stratum is a Beta variable around what the score promises: ln(p / (1 - p)) = a + u + q u² / 100,
where u = b z and z is the stratum's log-odds of the score. What a scored image is worth (a, b), how far that is from a
line (q), and how far strata stray from the curve (t, the standard deviation of ln(odds)), are learnt from the same
labels, flagged strata included. Where labels are many, a stratum speaks for itself; where they are few, as in the far
tail, the curve does, and how unsure it is. A small weight lies on drugs that the score knows nothing of (e): a single
one that is found in the tail outweighs the curve. Importance sampling for (a, ln b, q, ln t) at each e, from
Student's t distributions around the mode; given these, the shares by Gibbs sampling through the reviewers' errors. No
normal approximation is left in what is drawn, so counts of 0 are no special case.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sniffer.recall.cells import Cells, Counts
from sniffer.recall.gamma import Values, log_rising
from sniffer.recall.reviewers import Errors

METHOD = "hierarchical-beta-2"
"""Kept with each figure: figures of different methods are not compared."""

_UNSEEN_SHARES = np.array([0.0, *(10.0 ** np.array([-6.5, -5.5, -4.5, -3.5, -2.5]))])
_UNSEEN_WEIGHT = 0.01
_FIRST_LOOK, _SCOUTS = 60, 250
"""Points of importance sampling for each unseen share, and where that matters, to learn where to look. Then as many as
there are draws."""
_MATTERS = 0.005
_DEGREES = 6
_SWEEPS = 12
_STEPS = np.array([1.0, 0.5, 0.2, 0.05, 0.01, 0.0])
"""Of these parts of a step the best is gone."""
_STARTS = np.stack(np.meshgrid(np.linspace(-3, 3, 13), np.linspace(-2.5, 2.5, 11), indexing="ij"), -1).reshape(-1, 2)
"""In spreads of height and ln(slope)."""


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed of the score before the labels: the curve's height is that of this prevalence.

    A calibrated score has the slope 1 and the bend 0. The spreads are standard deviations: of ln(odds), ln(slope), the
    bend, and the logarithm of how far strata stray.
    """

    prevalence: float = 1e-3
    height_spread: float = 3.0
    slope: float = 1.0
    slope_spread: float = 1.2
    bend_spread: float = 1.7
    stray: float = 0.06
    stray_spread: float = 0.8

    @property
    def centre(self) -> Values:
        """Of height, ln(slope), bend and ln(stray)."""
        odds = self.prevalence / (1 - self.prevalence)
        return np.array([np.log(odds), np.log(self.slope), 0.0, np.log(self.stray)])

    @property
    def spread(self) -> Values:
        """Their standard deviations."""
        return np.array([self.height_spread, self.slope_spread, self.bend_spread, self.stray_spread])


@dataclass(frozen=True, slots=True)
class Posterior:
    """What the labels allow: `drugs` in each stratum, labelled or not, as [draws, strata]; each row is one answer.

    `height` and `slope` are the medians of those of the score, by which the next audit is planned.
    """

    drugs: Counts
    height: float
    slope: float


def posterior(cells: Cells, errors: Errors, prior: Prior, draws: int, seed: np.random.Generator) -> Posterior:
    """Draws from the posterior. `errors` has draws of the reviewers' rates, as many as are asked for here."""
    points, unseen = _Curve.of(cells, errors, prior).draw(draws, seed)
    mean = _mean(_log_odds(cells.log_odds, points), unseen[:, None])
    drugs = _gibbs(cells, errors, *_shapes(mean, np.exp(points[:, 3:])), seed)
    return Posterior(drugs, float(np.median(points[:, 0])), float(np.exp(np.median(points[:, 1]))))


def _log_odds(score: Values, points: Values) -> Values:
    """What a score promises, [points, strata]: of each point (height, ln(slope), bend, ...)."""
    place = np.exp(points[:, 1:2]) * score
    curve: Values = points[:, :1] + place + points[:, 2:3] * place * place / 100
    return curve


def _mean(log_odds: Values, unseen: Values | float) -> Values:
    seen = 1 / (1 + np.exp(-np.clip(log_odds, -40, 40)))
    mean: Values = np.clip(seen + unseen * (1 - seen), 1e-12, 1 - 1e-9)
    return mean


def _shapes(mean: Values, stray: Values) -> tuple[Values, Values]:
    """The Beta distribution of that mean whose ln(odds) has about that standard deviation, wherever the mean is."""
    return 1 / (stray * stray * (1 - mean)), 1 / (stray * stray * mean)


@dataclass(frozen=True, slots=True)
class _Curve:
    """What the labels say of the curve, the strata's shares integrated out. Arrays of strata that have labels."""

    log_odds: Values
    labels: Values
    positives: Values
    found: Values
    false: Values
    prior: Prior

    @classmethod
    def of(cls, cells: Cells, errors: Errors, prior: Prior) -> _Curve:
        used = cells.only(cells.labels > 0)
        rates = errors.typical(used)
        return cls(used.log_odds, used.labels.astype(float), used.positives.astype(float), *rates, prior)

    def draw(self, draws: int, seed: np.random.Generator) -> tuple[Values, Values]:
        """Points (height, ln(slope), bend, ln(stray)), [draws, 4], and unseen shares, [draws]."""
        believed = np.log(np.array([1 - _UNSEEN_WEIGHT, *[_UNSEEN_WEIGHT / 5] * 5]))
        modes, spreads = self._modes()
        looks = [
            self._look(share, mode, spread, _FIRST_LOOK, seed)
            for share, mode, spread in zip(_UNSEEN_SHARES, modes, spreads, strict=True)
        ]
        for number in np.flatnonzero(_chances(looks, believed) > _MATTERS):
            share = _UNSEEN_SHARES[number]
            scouted = self._look(share, modes[number], spreads[number], _SCOUTS, seed)
            looks[number] = self._look(share, *scouted.moments(), draws, seed)
        counts = seed.multinomial(draws, _chances(looks, believed))
        points = np.concatenate([look.draw(count, seed) for look, count in zip(looks, counts, strict=True)])
        order = seed.permutation(draws)
        return points[order], np.repeat(_UNSEEN_SHARES, counts)[order]

    def _log_posterior(self, points: Values, unseen: float) -> Values:
        share = _mean(_log_odds(self.log_odds, points), unseen)
        called = np.clip(share * self.found + (1 - share) * self.false, 1e-12, 1 - 1e-9)
        first, second = _shapes(called, np.exp(points[:, 3:]))
        likelihood = np.sum(
            log_rising(first, self.positives)
            + log_rising(second, self.labels - self.positives)
            - log_rising(first + second, self.labels),
            axis=-1,
        )
        off = (points - self.prior.centre) / self.prior.spread
        total: Values = likelihood - 0.5 * np.sum(off * off, axis=-1)
        return total

    def _look(self, unseen: float, centre: Values, spread: Values, count: int, seed: np.random.Generator) -> _Look:
        """Points from Student's t distribution around a place, with their weights."""
        root = np.linalg.cholesky(spread)
        ways = seed.standard_normal((count, 4)) / np.sqrt(seed.chisquare(_DEGREES, (count, 1)) / _DEGREES)
        density = -(_DEGREES + 4) / 2 * np.log1p(np.sum(ways * ways, axis=1) / _DEGREES)
        points = centre + ways @ root.T
        return _Look(points, self._log_posterior(points, unseen) - density + np.log(np.diag(root)).sum())

    def _modes(self) -> tuple[Values, Values]:
        """At each unseen share, where the posterior is about highest, [shares, 4], and how wide it is there.

        By Fisher's scoring of a binomial likelihood: only a place to look at.
        """
        centre, precision = self.prior.centre, np.diag(self.prior.spread[:3] ** -2.0)
        starts = np.tile(centre, (len(_STARTS), 1))
        starts[:, :2] += _STARTS * self.prior.spread[:2]
        unseen = _UNSEEN_SHARES[:, None]
        modes = np.tile(starts[np.argmax(self._binomial(starts, unseen[:1]))], (len(unseen), 1))
        for _ in range(12):
            called, slopes = self._called(modes, unseen)
            weight = self.labels / (called * (1 - called))
            fisher = np.einsum("esi,es,esj->eij", slopes, weight, slopes) + precision
            off = (modes - centre)[:, :3] @ precision
            score = np.einsum("esi,es->ei", slopes, weight * (self.positives / self.labels - called)) - off
            step = np.zeros_like(modes)
            step[:, :3] = np.linalg.solve(fisher, score[:, :, None])[:, :, 0]
            tried = modes + _STEPS[:, None, None] * step
            best = np.argmax([self._binomial(each, unseen) for each in tried], axis=0)
            moved = tried[best, np.arange(len(modes))]
            if np.abs(moved - modes).max() < 1e-2:
                break
            modes = moved
        called, slopes = self._called(modes, unseen)
        by_chance = called * (1 - called)
        variance = by_chance / self.labels + (self.prior.stray * by_chance) ** 2
        spreads = np.zeros((len(modes), 4, 4))
        spreads[:, :3, :3] = np.linalg.inv(np.einsum("esi,es,esj->eij", slopes, 1 / variance, slopes) + precision) * 1.3
        spreads[:, 3, 3] = self.prior.stray_spread**2
        return modes, spreads

    def _called(self, modes: Values, unseen: Values) -> tuple[Values, Values]:
        """What share of a stratum's labels is positive, [modes, strata], and how it changes, [modes, strata, 3]."""
        place = np.exp(modes[:, 1:2]) * self.log_odds
        seen = 1 / (1 + np.exp(-np.clip(_log_odds(self.log_odds, modes), -40, 40)))
        share = _mean(_log_odds(self.log_odds, modes), unseen)
        called = np.clip(share * self.found + (1 - share) * self.false, 1e-12, 1 - 1e-9)
        change = (self.found - self.false) * (1 - unseen) * seen * (1 - seen)
        bend = place * place / 100
        ways = np.stack([np.ones_like(place), place + 2 * modes[:, 2:3] * bend, bend], axis=-1)
        return called, change[:, :, None] * ways

    def _binomial(self, modes: Values, unseen: Values) -> Values:
        called, _ = self._called(modes, unseen)
        off = (modes - self.prior.centre) / self.prior.spread
        chance = np.sum(self.positives * np.log(called) + (self.labels - self.positives) * np.log1p(-called), axis=-1)
        total: Values = chance - 0.5 * np.sum(off * off, axis=-1)
        return total


@dataclass(frozen=True, slots=True)
class _Look:
    """Points of importance sampling, [points, 4], and the logarithms of their weights."""

    points: Values
    log_weight: Values

    @property
    def log_evidence(self) -> float:
        """Of the model, but for a factor that all looks have."""
        most = self.log_weight.max()
        return float(np.log(np.mean(np.exp(self.log_weight - most))) + most)

    @property
    def weight(self) -> Values:
        """Their shares."""
        weight = np.exp(self.log_weight - self.log_weight.max())
        shares: Values = weight / weight.sum()
        return shares

    def moments(self) -> tuple[Values, Values]:
        """Where they are, and how far apart; somewhat wider, so that the next look misses nothing."""
        # Tempered: a few points may carry most of the weight.
        weight = self.weight**0.7
        weight = weight / weight.sum()
        centre = weight @ self.points
        off = self.points - centre
        return centre, (off.T * weight) @ off * 1.2 + 1e-6 * np.eye(4)

    def draw(self, count: int, seed: np.random.Generator) -> Values:
        """So many of the points, by their weights."""
        return self.points[seed.choice(len(self.points), size=count, p=self.weight)]


def _chances(looks: list[_Look], believed: Values) -> Values:
    total = np.array([look.log_evidence for look in looks]) + believed
    chance = np.exp(total - total.max())
    shares: Values = chance / chance.sum()
    return shares


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
