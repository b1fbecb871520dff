"""Recall and prevalence of simulated audits: their intervals hold as often as they say, with few labels."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.simulated_audits import World, simulate
from support.simulated_nights import simulate_nights

from sniffer.recall.allocation import FLAGGED, FLOOR, allocation, expected_shares
from sniffer.recall.cells import Cells
from sniffer.recall.design_bound import design_interval, weighted_sum
from sniffer.recall.figures import measured
from sniffer.recall.gamma import log_rising
from sniffer.recall.posterior import Prior, posterior
from sniffer.recall.reviewers import Errors, Pairs

LABELS = 6000
WORLDS = {
    "calibrated": World(1e-3),
    "reviewers err": World(1e-3, found=0.95, false=0.01, twice=0.2),
    "underconfident": World(1e-3, temperature=2.0),
    "overconfident": World(1e-3, temperature=0.5),
    "drugs spread wider": World(1e-3, spread=1.3),
}


def cells(labels: list[int], positives: list[int], population: int | list[int] = 1_000_000) -> Cells:
    """Strata from the far tail up to one that is flagged."""
    count = len(labels)
    return Cells.even(
        np.full(count, population) if isinstance(population, int) else np.array(population),
        np.array(labels),
        np.array(positives),
        np.linspace(-10, 4, count),
        np.arange(count) == count - 1,
        np.zeros(count),
        np.ones(count, dtype=bool),
    )


@given(st.floats(1e-6, 1e4), st.integers(0, 10_000))
def test_log_rising_is_by_the_standard_library_s_gamma(value: float, steps: int) -> None:
    expected = math.lgamma(value + steps) - math.lgamma(value)
    assert log_rising(np.array([value]), np.array([float(steps)]))[0] == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(st.floats(1e4, 1e17), st.integers(0, 500))
@settings(deadline=None, max_examples=40)
def test_log_rising_loses_nothing_where_the_argument_is_large(value: float, steps: int) -> None:
    expected = math.fsum(math.log(value + step) for step in range(steps))
    assert log_rising(np.array([value]), np.array([float(steps)]))[0] == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("prevalence", [1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize("name", WORLDS)
def test_of_a_thousand_intervals_93_to_97_in_a_hundred_hold(name: str, prevalence: float) -> None:
    # Of a thousand that hold with 95 % each, the share is off by 0.7 points as one standard error.
    for held in simulate(replace(WORLDS[name], prevalence=prevalence), 1000, LABELS, seed=7).coverage:
        assert 0.93 <= held <= 0.97


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_they_hold_as_often_of_a_hundred_buckets_whose_nights_share_a_budget() -> None:
    for audits in simulate_nights(100, 1000, seed=7):
        for held in audits.coverage:
            assert 0.93 <= held <= 0.97


def test_the_intervals_of_a_few_audits_hold_and_say_something() -> None:
    audits = simulate(World(1e-4), 20, LABELS, seed=3)
    # Of 20 at 95 %, fewer than 16 would be one in four hundred.
    assert min(audits.coverage) >= 16 / 20
    assert audits.width < 0.2
    ends = audits.recall_ends
    assert np.any(ends[:, 0] > 0.83) and np.all(ends[:, 1] < 1)


@pytest.mark.slow
def test_uniform_sampling_takes_over_twenty_times_the_labels_for_the_same_width() -> None:
    ours = simulate(World(1e-4), 20, LABELS, seed=1)
    uniform = simulate(World(1e-4), 20, 20 * LABELS, seed=1, uniform=True)
    assert uniform.labels >= 19.9 * ours.labels
    assert uniform.width > ours.width


def test_one_drug_in_the_far_tail_outweighs_what_the_score_promises() -> None:
    seed = np.random.default_rng(1)
    images = [10_000_000, 100_000, 10_000, 1000]
    quiet, loud = (
        measured(cells([2000, 1000, 1000, 300], [tail, 0, 10, 250], images), Errors.none(4000), Prior(), seed)
        for tail in (0, 1)
    )
    assert quiet.recall is not None and loud.recall is not None
    assert quiet.recall.low > 0.7
    assert loud.recall.low < 0.4
    assert loud.recall.weighted == pytest.approx(833.3 / (833.3 + 5000 + 100), rel=1e-3)


def test_the_floor_without_the_score_is_that_of_the_rule_of_three() -> None:
    seed = np.random.default_rng(1)
    found = measured(cells([3000, 300], [0, 300], [1_000_000, 1000]), Errors.none(2000), Prior(), seed)
    assert found.recall is not None and found.recall_at_least is not None
    # No drug among 3,000: at most ln(40) of them, by the mid-P end at half of 5 %; of the flagged at least 870.
    assert found.recall_at_least == pytest.approx(870 / (870 + math.log(40) / 3000 * 1e6), rel=0.05)
    assert found.recall_at_least < found.recall.low


def test_a_stratum_that_is_known_whole_is_no_estimate() -> None:
    seed = np.random.default_rng(1)
    drawn = posterior(cells([50, 50], [3, 40], 50), Errors.none(500), Prior(), 500, seed).drugs
    assert np.unique(drawn, axis=0).tolist() == [[3, 40]]


def test_reviewers_who_miss_half_double_what_was_missed() -> None:
    seed = np.random.default_rng(1)
    sharp, blind = (
        posterior(cells([4000, 400], [40, 200]), errors, Prior(), 3000, seed).drugs.mean(axis=0)
        for errors in (Errors.none(3000), Errors.drawn(Pairs(5000, 5000, 0, 50_000), 3000, seed))
    )
    assert blind[0] / sharp[0] == pytest.approx(2, rel=0.1)


def test_confirmations_alone_do_not_make_every_drug_a_false_alarm() -> None:
    """As where no share of second reviews is set: second ones see nothing but what the first one calls a drug."""
    seed = np.random.default_rng(1)
    confirming = Errors.drawn(Pairs(agreed=40, missed=1), 2000, seed)
    precision = measured(cells([3000, 300], [5, 200]), confirming, Prior(), seed).precision
    assert precision is not None and precision.low > 0.6


def test_false_alarms_of_reviewers_are_taken_off_where_one_word_is_enough() -> None:
    alarms = Pairs(1000, 0, 500, 49_500)
    found = []
    for confirmed in (False, True):
        one = cells([10_000, 400], [100, 200])
        one.confirmed[:] = confirmed
        seed = np.random.default_rng(1)
        found.append(posterior(one, Errors.drawn(alarms, 2000, seed), Prior(), 2000, seed).drugs[:, 0].mean())
    assert found[0] < 0.3 * found[1]


@given(st.lists(st.integers(0, 10**7), min_size=2, max_size=20), st.integers(50, 5000), st.floats(-12, 0))
@settings(deadline=None, max_examples=40)
def test_every_stratum_is_drawn_from_within_its_images_and_the_budget(
    sizes: list[int], labels: int, height: float
) -> None:
    population = np.array(sizes)
    at = np.linspace(-12, 6, len(sizes))
    flagged = at > 2
    counts = allocation(population, expected_shares(at, height, 1.0), flagged, labels)
    assert np.all(counts <= population) and np.all(counts >= np.minimum(population, 2))
    assert counts.sum() == min(labels, population.sum())
    if population[~flagged].sum():
        floor = (1 - FLAGGED) * FLOOR * labels * population[~flagged] / population[~flagged].sum()
        assert np.all(counts[~flagged] >= np.minimum(floor, population[~flagged]) - 1)


def test_fewer_labels_than_strata_are_refused() -> None:
    population, at = np.array([10, 0, 10, 10]), np.linspace(-3, 3, 4)
    assert allocation(population, expected_shares(at, 0.0, 1.0), at > 2, 3).tolist() == [1, 0, 1, 1]
    with pytest.raises(ValueError, match="2 labels are too few for 3 strata"):
        allocation(population, expected_shares(at, 0.0, 1.0), at > 2, 2)


def test_the_weighted_sum_is_right_on_average() -> None:
    seed = np.random.default_rng(2)
    drugs, labels = np.array([30, 200, 900, 800_000]), np.array([2000, 1000, 500, 300])
    sums = []
    for _ in range(400):
        one = cells([*labels], [*seed.hypergeometric(drugs, 1_000_000 - drugs, labels)])
        sums.append(weighted_sum(one.only(~one.flagged)))
    assert np.mean(sums) == pytest.approx(drugs[:3].sum(), rel=0.15)
    low, high = design_interval(cells([2000, 1000, 500], [0, 0, 1]), 0.95, seed)
    assert low < 2000 < high
