"""Audits of simulated nights whose truth is known: how often the intervals hold, and how wide they are.

The latent score of an image without drugs is N(0, 1), of one with drugs N(distance, spread), so that the true log-odds
are linear in it where spread is 1. What the model reports is this over `temperature`: above 1 it is underconfident,
below 1 overconfident. `hard` of the drugs look like anything else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from sniffer.recall.allocation import allocation, expected_shares
from sniffer.recall.cells import Cells, Counts, Flags
from sniffer.recall.gamma import Values
from sniffer.recall.posterior import Prior, posterior
from sniffer.recall.reviewers import Errors, Pairs

ABOVE = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
BELOW = (0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 1.2, 1.5, 1.9, 2.3, 3.0, 4.0)
DRAWS = 800
Row = tuple[float, Values, float, Values]
_GRID = np.linspace(-7, 14, 40_001)


@dataclass(frozen=True)
class World:
    """A bucket and its model."""

    prevalence: float
    images: int = 10_000_000
    recall: float = 0.9
    distance: float = 5.0
    spread: float = 1.0
    temperature: float = 1.0
    hard: float = 0.0
    found: float = 1.0
    false: float = 0.0
    twice: float = 0.0

    def strata(self) -> tuple[Counts, Values, Values, Flags]:
        """Population, share of drugs, reported log-odds and flagged, of each stratum that has images."""
        threshold = self.distance - self.spread * 1.2815515655446004
        edges = threshold + np.array([*(-below for below in reversed(BELOW)), 0.0, *ABOVE])
        others = _density(_GRID)
        drugs = (1 - self.hard) * _density((_GRID - self.distance) / self.spread) / self.spread + self.hard * others
        place = np.searchsorted(edges, _GRID, side="right")
        step = _GRID[1] - _GRID[0]

        def sums(values: Values) -> Values:
            found: Values = np.bincount(place, values * step, minlength=len(edges) + 1).astype(float)
            return found

        mass = self.prevalence * drugs + (1 - self.prevalence) * others
        log_odds = (self.distance * _GRID - self.distance**2 / 2) / self.temperature
        whole = sums(mass)
        population = np.round(self.images * whole).astype(np.int64)
        kept = population > 0
        shares = sums(self.prevalence * drugs) / whole
        flagged = np.arange(len(whole)) > len(BELOW)
        return population[kept], shares[kept], (sums(mass * log_odds) / whole)[kept], flagged[kept]


@dataclass(frozen=True)
class Audits:
    """Of many audits, [audits, ...]: the truth, and the ends of the intervals."""

    recall: Values
    recall_ends: Values
    prevalence: Values
    prevalence_ends: Values
    labels: int

    @classmethod
    def of(cls, rows: Sequence[Row], labels: int) -> Self:
        """From what interval_row() says of each."""
        recall, recall_ends, prevalence, prevalence_ends = map(np.array, zip(*rows, strict=True))
        return cls(recall, recall_ends, prevalence, prevalence_ends, labels)

    @property
    def coverage(self) -> tuple[float, float]:
        """The share of intervals that hold: of recall, of prevalence."""
        return _held(self.recall, self.recall_ends), _held(self.prevalence, self.prevalence_ends)

    @property
    def width(self) -> float:
        """The median width of recall's interval."""
        return float(np.median(self.recall_ends[:, 1] - self.recall_ends[:, 0]))


def simulate(world: World, audits: int, labels: int, seed: int, *, uniform: bool = False) -> Audits:
    """So many audits of that world with that many labels each; `uniform`: without strata among the unflagged."""
    random = np.random.default_rng(seed)
    population, shares, log_odds, flagged = world.strata()
    height = math.log(world.prevalence / (1 - world.prevalence))
    counts = allocation(population, expected_shares(log_odds, height, 1.0), flagged, labels)
    if uniform:
        rest = np.where(flagged, 0, population)
        counts = np.where(flagged, counts, np.round(labels * rest / rest.sum())).astype(np.int64)
    rows = [_audit(world, population, shares, log_odds, flagged, counts, random) for _ in range(audits)]
    return Audits.of(rows, int(counts.sum()))


def _audit(
    world: World,
    population: Counts,
    shares: Values,
    log_odds: Values,
    flagged: Flags,
    counts: Counts,
    random: np.random.Generator,
) -> Row:
    drugs = random.binomial(population, shares)
    seen = random.hypergeometric(drugs, population - drugs, counts)
    called, errors = _labelled(world, seen, counts, random)
    strata = len(counts)
    confirmed = np.ones(strata, dtype=bool)
    cells = Cells.even(population, counts, called, log_odds, flagged, np.full(strata, world.twice), confirmed)
    return interval_row(cells, errors, int(drugs[flagged].sum()), int(drugs.sum()), random)


def interval_row(cells: Cells, errors: Errors, found: int, drugs: int, random: np.random.Generator) -> Row:
    """The truth of recall and the ends of its interval, then those of prevalence; `found` of `drugs` are flagged."""
    drawn = posterior(cells, errors, Prior(), len(errors.found), random).drugs
    images, flagged = cells.population.sum(), cells.flagged
    inside, whole = drawn[:, flagged].sum(axis=1), drawn.sum(axis=1)
    ends = (2.5, 97.5)
    return (
        found / drugs,
        np.percentile(inside / whole, ends),
        drugs / images,
        np.percentile(whole / images, ends),
    )


def _labelled(world: World, seen: Counts, counts: Counts, random: np.random.Generator) -> tuple[Counts, Errors]:
    """What reviewers call drugs, and what their pairs of decisions say of them.

    Two see a share of them, and whatever the first one calls a drug; where they differ, the right answer is found.
    """
    if world.found == 1 and world.false == 0:
        return seen, Errors.none(DRAWS)
    others = counts - seen
    first, alarms = random.binomial(seen, world.found), random.binomial(others, world.false)
    agreed, wrong = random.binomial(first, world.found), random.binomial(alarms, world.false)
    looked, twice = random.binomial(seen - first, world.twice), random.binomial(others - alarms, world.twice)
    second, alarmed = random.binomial(looked, world.found), random.binomial(twice, world.false)
    pairs = Pairs(
        int((agreed + wrong).sum()),
        int((first - agreed).sum()),
        int(alarmed.sum()),
        int((looked - second + twice - alarmed).sum()),
    )
    return first + second + wrong, Errors.drawn(pairs, DRAWS, random)


def _held(truth: Values, ends: Values) -> float:
    return float(np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1])))


def _density(values: Values) -> Values:
    return np.exp(-0.5 * values * values) / math.sqrt(2 * math.pi)
