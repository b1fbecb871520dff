"""The night's flags by Bayes, and the threshold's two rules."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from support.scored import scored_images

from sniffer.core.errors import SettingsError
from sniffer_model.statistics.metrics import Scores, Truth, confusion
from sniffer_model.statistics.review_load import (
    PLANNING_CONFIDENCE,
    FlaggedCounts,
    ReviewPlan,
    ThresholdRule,
    bounded_night,
    choose_threshold,
    nightly_load,
)


def night(truth: Truth, scores: Scores, threshold: float, plan: ReviewPlan) -> tuple[float, float, float]:
    """The most flags, those that are right as seen, and the least precision, each from scipy's intervals by hand."""
    counts = confusion(truth, scores, threshold)
    drugs, others = int(truth.sum()), int((~truth).sum())
    each = 1 - (1 - PLANNING_CONFIDENCE) / 2
    recall = binomtest(counts.true_positives, drugs).proportion_ci(each, "exact")
    alarms = binomtest(counts.false_positives, others).proportion_ci(each, "exact")
    of_drugs, of_others = plan.nightly_volume * plan.prevalence, plan.nightly_volume * (1 - plan.prevalence)
    most = of_drugs * recall.high + of_others * alarms.high
    least = of_drugs * recall.low / (of_drugs * recall.low + of_others * alarms.high)
    flags_any = counts.true_positives + counts.false_positives > 0
    return most, of_drugs * (counts.recall or 0), least if flags_any else 0.0


def test_a_night_by_hand() -> None:
    load = nightly_load(np.array([0.9, 0.0]), np.array([0.01, 0.0]), ReviewPlan(0.001, 100_000))
    assert load.right.tolist() == [pytest.approx(90), 0]
    assert load.flags.tolist() == [pytest.approx(90 + 999), 0]
    assert load.missed.tolist() == [pytest.approx(10), 100]
    assert load.precision[0] == pytest.approx(90 / 1089)
    assert np.isnan(load.precision[1])


@given(scored_images(), st.sampled_from([0.1, 0.3, 0.5, 0.95]), st.sampled_from([0.01, 0.5]))
@settings(deadline=None, max_examples=40)
def test_no_threshold_that_reaches_the_target_finds_more_than_the_chosen(
    case: tuple[Truth, Scores], target: float, prevalence: float
) -> None:
    truth, scores = case
    plan = ReviewPlan(prevalence, 1000, target_precision=target)
    choice = choose_threshold(truth, scores, plan)
    _, right, precision = night(truth, scores, choice.threshold, plan)
    others = [night(truth, scores, float(value), plan) for value in np.unique(scores)]
    reaching = [other for other in others if other[2] >= target]
    event("reached" if reaching else "not reached")
    assert choice.kept == choice.target_precision_reached == bool(reaching)
    if reaching:
        assert precision >= target - 1e-9
        assert right == pytest.approx(max(other[1] for other in reaching))
    else:
        assert precision == pytest.approx(max(other[2] for other in others))


@given(scored_images(), st.sampled_from([1, 100, 300, 500, 700, 1000]))
@settings(deadline=None, max_examples=40)
def test_no_threshold_that_fits_the_capacity_finds_more_than_the_chosen(
    case: tuple[Truth, Scores], capacity: int
) -> None:
    truth, scores = case
    plan = ReviewPlan(0.1, 1000, capacity)
    choice = choose_threshold(truth, scores, plan)
    flags, right, _ = night(truth, scores, choice.threshold, plan)
    others = [night(truth, scores, float(value), plan) for value in np.unique(scores)]
    fitting = [other for other in others if other[0] <= capacity]
    assert choice.rule is ThresholdRule.CAPACITY
    assert choice.kept == bool(fitting)
    if fitting:
        assert flags <= capacity + 1e-9
        assert right == pytest.approx(max(other[1] for other in fitting))
    else:
        assert flags == pytest.approx(min(other[0] for other in others))


def test_the_threshold_lies_half_way_between_separated_classes() -> None:
    truth, scores = np.array([True, True, False, False]), np.array([0.9, 0.8, 0.4, 0.1])
    assert choose_threshold(truth, scores, ReviewPlan()).threshold == pytest.approx(0.6)


def test_the_rarer_drugs_are_the_higher_the_threshold() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(2000) % 2 == 0
    scores = 1 / (1 + np.exp(-rng.normal(np.where(truth, 2, -2), 1.5)))
    chosen = [choose_threshold(truth, scores, ReviewPlan(p, target_precision=0.6)) for p in (0.5, 0.1, 0.05)]
    assert all(choice.kept for choice in chosen)
    assert sorted(choice.threshold for choice in chosen) == [choice.threshold for choice in chosen]


@pytest.mark.parametrize(("recall", "alarms"), [(0.8, 0.001), (0.5, 0.0), (0.95, 0.2)])
def test_the_intervals_of_a_night_hold_at_least_as_often_as_they_say(recall: float, alarms: float) -> None:
    rng, plan, draws = np.random.default_rng(0), ReviewPlan(0.01, 100_000), 3000
    right, wrong = (rng.binomial(*of, draws).astype(float) for of in ((80, recall), (400, alarms)))
    counts = FlaggedCounts(right, wrong, 80, 400)
    found, true = bounded_night(counts, plan, 0.95), nightly_load(np.array(recall), np.array(alarms), plan)
    for name in ("flags", "right", "missed", "precision"):
        band, value = getattr(found, name), float(getattr(true, name))
        # Where nothing is flagged there is no precision to hold.
        assert np.mean(np.isnan(band.low) | (band.low <= value) & (value <= band.high)) >= 0.95, name


def test_a_threshold_that_suits_a_small_validation_split_by_luck_is_not_taken_for_kept() -> None:
    truth = np.array([True] * 5 + [False] * 5)
    perfect = np.where(truth, 0.9, 0.1)
    assert not choose_threshold(truth, perfect, ReviewPlan(1e-4, 4_000_000)).kept
    assert not choose_threshold(truth, perfect, ReviewPlan(1e-4, 4_000_000, capacity=3000)).kept
    many = np.arange(60_000) < 300
    assert choose_threshold(many, np.where(many, 0.9, 0.1), ReviewPlan(1e-4, 4_000_000, capacity=3000)).kept


@pytest.mark.parametrize(
    ("fields", "flag"),
    [
        ({"prevalence": 0.0}, "--prevalence"),
        ({"prevalence": 1.0}, "--prevalence"),
        ({"prevalence": float("nan")}, "--prevalence"),
        ({"nightly_volume": 0}, "--nightly-volume"),
        ({"nightly_volume": 10**400}, "--nightly-volume"),
        ({"capacity": 0.0}, "--capacity"),
        ({"capacity": float("inf")}, "--capacity"),
        ({"capacity": float("nan")}, "--capacity"),
        ({"target_precision": 1.5}, "--target-precision"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_by_its_flag(fields: dict[str, float], flag: str) -> None:
    with pytest.raises(SettingsError, match=flag):
        ReviewPlan(**fields)  # type: ignore[arg-type]
