"""Exact intervals of counts, against scipy's own and by how often they hold; and the corrected tests."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from sniffer_model.statistics.metrics import Ranking, pr_area, roc_area
from sniffer_model.statistics.shares import holm, images_needed, loss_p_value, paired_difference, share, unseen_share
from sniffer_model.statistics.unseen import unseen_ranking


@given(st.integers(1, 2000), st.floats(0, 1), st.sampled_from([0.9, 0.95, 0.999]))
def test_the_interval_of_a_share_is_scipys_exact_one(whole: int, part: float, confidence: float) -> None:
    count = round(part * whole)
    found = share(np.array(count), np.array(whole), confidence)
    expected = binomtest(count, whole).proportion_ci(confidence, "exact")
    assert float(found.low) == pytest.approx(expected.low, abs=1e-9)
    assert float(found.high) == pytest.approx(expected.high, abs=1e-9)
    assert float(found.values) == count / whole


def test_none_and_all_are_no_certainty() -> None:
    found = share(np.array([0.0, 77, 0, 1]), np.array([77.0, 77, 0, 1]), 0.95)
    assert found.low.tolist()[:2] == [0, pytest.approx(0.9532, abs=1e-4)]
    assert found.high.tolist()[:2] == [pytest.approx(0.0468, abs=1e-4), 1]
    assert np.isnan([found.values[2], found.low[2], found.high[2]]).all(), "nothing is known of nothing"
    assert found.low[3] == pytest.approx(0.025) and found.high[3] == 1


@pytest.mark.parametrize("whole", [5, 40, 300])
@pytest.mark.parametrize("probability", [0.001, 0.05, 0.5, 0.97])
def test_the_interval_holds_at_least_as_often_as_it_says(whole: int, probability: float) -> None:
    counts = np.arange(whole + 1.0)
    found = share(counts, np.array(whole), 0.95)
    holds = (found.low <= probability) & (probability <= found.high)
    assert binom.pmf(counts, whole, probability)[holds].sum() >= 0.95


@pytest.mark.parametrize(("gain", "loss"), [(0.0, 0.0), (0.02, 0.02), (0.1, 0.05), (0.5, 0.4)])
def test_the_interval_of_a_paired_difference_holds_at_least_as_often_as_it_says(gain: float, loss: float) -> None:
    rng, images = np.random.default_rng(0), 60
    gained, lost, _ = rng.multinomial(images, [gain, loss, 1 - gain - loss], size=4000).T
    found = paired_difference(gained, lost, np.array(images), 0.95)
    assert np.mean((found.low <= gain - loss) & (gain - loss <= found.high)) >= 0.95
    assert (found.low < found.high).all()


def test_the_images_needed_are_just_enough() -> None:
    for largest in (0.3, 0.01, 1e-5):
        images = images_needed(largest, 0.95)
        assert unseen_share(images, 0.95) <= largest < unseen_share(images - 1, 0.95)


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (0, 5), (1, 0), (4, 0), (9, 3), (60, 40)])
def test_the_p_value_of_a_loss_is_that_of_the_sign_test(lost: int, gained: int) -> None:
    expected = binomtest(lost, lost + gained, 0.5, alternative="greater").pvalue if lost + gained else 1.0
    assert loss_p_value(lost, gained) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("p_values", "rejected"),
    [
        ([], []),
        ([0.04], [True]),
        ([0.06], [False]),
        ([0.04, 0.04], [False, False]),
        ([0.04, 0.02], [True, True]),
        ([0.03, 0.001, 0.5], [False, True, False]),
        ([0.01, 0.02, 0.03], [True, True, True]),
        ([0.02, 0.02, 0.02], [False, False, False]),
    ],
)
def test_holms_method_by_hand(p_values: list[float], rejected: list[bool]) -> None:
    assert holm(p_values, 0.05) == rejected


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holms_method_rejects_all_that_bonferronis_does_and_none_above_the_rate(p_values: list[float]) -> None:
    rejected = holm(p_values, 0.05)
    for p_value, is_rejected in zip(p_values, rejected, strict=True):
        assert is_rejected or p_value > 0.05 / len(p_values)
        assert p_value <= 0.05 or not is_rejected


def test_a_perfect_ranking_of_few_images_leaves_much_possible_and_of_many_little() -> None:
    lows = []
    for each in (5, 50, 5000):
        truth = np.arange(2 * each) < each
        worst, best = unseen_ranking(Ranking(truth, truth.astype(float)), 0.95)
        assert roc_area(*best) == pr_area(*best) == pytest.approx(1)
        # A share of each class at the wrong end: the rest is still in order.
        assert roc_area(*worst) == pytest.approx((1 - unseen_share(each, 0.95)) ** 2)
        lows.append(float(pr_area(*worst)))
    assert lows == sorted(lows)
    assert lows[0] < 0.5 and lows[-1] > 0.99


def test_the_worst_ranking_counts_every_image() -> None:
    truth, scores = np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1])
    for right, wrong in unseen_ranking(Ranking(truth, scores), 0.95):
        assert (right[-1], wrong[-1]) == (2, 2)
        assert (np.diff(right) >= -1e-12).all() and (np.diff(wrong) >= -1e-12).all()
