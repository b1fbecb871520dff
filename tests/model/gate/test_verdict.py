"""The gate's decision: a table of cases at its boundaries, and how often luck gets past it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from sniffer.core.errors import SettingsError
from sniffer.core.gate_records import GateFigures, ModelComparison, PairedFigure, SliceComparison
from sniffer.core.model_metrics import IntervalEstimate
from sniffer_model.gate.comparison import ERROR_RATE, Rival, compare
from sniffer_model.gate.verdict import Limits, Override, decide
from sniffer_model.statistics.metrics import Resampling, Scores, Truth
from sniffer_model.statistics.review_load import ReviewPlan


def paired(value: float, low: float, high: float, stable: float = 0.9) -> PairedFigure:
    return PairedFigure(stable + value, stable, IntervalEstimate(value, low, high))


SAME = paired(0.0, -0.01, 0.01)
BETTER = ModelComparison(500, paired(0.02, 0.001, 0.04), SAME, SAME, SAME, SAME, ())
GOOD = GateFigures(0.95, 0.97, 0.8, 0.6, 900.0, 1000.0, "the rule", True, BETTER)


def against(**figures: Any) -> GateFigures:
    return dataclasses.replace(GOOD, comparison=dataclasses.replace(BETTER, **figures))


def slice_of(label: str, figure: PairedFigure, images: int = 50) -> dict[str, Any]:
    return {"slices": (SliceComparison(label, "pills", images, figure),)}


CASES: list[tuple[str, GateFigures, Limits, tuple[str, ...]]] = [
    ("everything is kept", GOOD, Limits(), ()),
    ("the areas are at their limits", dataclasses.replace(GOOD, pr_auc=0.8, roc_auc=0.9), Limits(), ()),
    ("PR-AUC is just below", dataclasses.replace(GOOD, pr_auc=0.7999), Limits(), ("pr_auc",)),
    ("ROC-AUC is just below", dataclasses.replace(GOOD, roc_auc=0.8999), Limits(), ("roc_auc",)),
    ("recall is at its limit", GOOD, Limits(min_recall=0.8), ()),
    ("recall is below its limit", GOOD, Limits(min_recall=0.81), ("recall",)),
    ("no drugs are found, whatever the limits", dataclasses.replace(GOOD, recall=0.0), Limits(0, 0), ("recall",)),
    ("the night's precision is below", GOOD, Limits(min_nightly_precision=0.61), ("nightly_precision",)),
    (
        "nothing is flagged",
        dataclasses.replace(GOOD, nightly_precision=None),
        Limits(min_nightly_precision=0.1),
        ("nightly_precision",),
    ),
    (
        "no threshold keeps the rule",
        dataclasses.replace(GOOD, threshold_rule_kept=False),
        Limits(),
        ("threshold_rule",),
    ),
    ("flags are at the tolerated capacity", dataclasses.replace(GOOD, flags_per_night=1250.0), Limits(), ()),
    ("flags are above it", dataclasses.replace(GOOD, flags_per_night=1251.0), Limits(), ("capacity",)),
    (
        "flags are above it, nothing tolerated",
        dataclasses.replace(GOOD, flags_per_night=1001.0),
        Limits(capacity_tolerance=0.0),
        ("capacity",),
    ),
    ("no capacity is known", dataclasses.replace(GOOD, flags_per_night=1e9, capacity=None), Limits(), ()),
    ("no stable model yet", dataclasses.replace(GOOD, comparison=None), Limits(), ()),
    (
        "no stable model yet, and not good enough",
        dataclasses.replace(GOOD, comparison=None, pr_auc=0.1),
        Limits(),
        ("pr_auc",),
    ),
    ("the gain's interval begins at zero", against(pr_auc=paired(0.02, 0.0, 0.04)), Limits(), ("pr_auc_gain",)),
    ("the gain's interval begins just above", against(pr_auc=paired(0.02, 1e-9, 0.04)), Limits(), ()),
    ("the very same model", against(pr_auc=paired(0.0, 0.0, 0.0)), Limits(), ("pr_auc_gain",)),
    ("recall's loss is at its limit", against(recall=paired(-0.02, -0.03, -0.01)), Limits(), ()),
    ("recall's loss is above, and shown", against(recall=paired(-0.021, -0.03, -0.01)), Limits(), ("recall_loss",)),
    ("recall's loss is above, but may be luck", against(recall=paired(-0.021, -0.06, 0.0)), Limits(), ()),
    ("recall grows", against(recall=paired(0.3, 0.2, 0.4)), Limits(), ()),
    (
        "a night's precision is lost",
        against(nightly_precision=paired(-0.06, -0.1, -0.01)),
        Limits(),
        ("precision_loss",),
    ),
    (
        "the stable model flags nothing",
        against(nightly_precision=PairedFigure(0.5, None, None)),
        Limits(),
        (),
    ),
    (
        "a slice of drugs is missed",
        against(**slice_of("drugs", paired(-0.06, -0.1, -0.01))),
        Limits(),
        ("slice drugs/pills",),
    ),
    ("a slice of drugs is found better", against(**slice_of("drugs", paired(0.06, 0.01, 0.1))), Limits(), ()),
    (
        "a slice of others is flagged more",
        against(**slice_of("other", paired(0.06, 0.01, 0.1))),
        Limits(),
        ("slice other/pills",),
    ),
    ("a slice of others is flagged less", against(**slice_of("other", paired(-0.06, -0.1, -0.01))), Limits(), ()),
    ("a slice's loss is at its limit", against(**slice_of("drugs", paired(-0.05, -0.1, -0.01))), Limits(), ()),
    (
        "a slice is large enough",
        against(**slice_of("drugs", paired(-0.5, -0.6, -0.4), 20)),
        Limits(),
        ("slice drugs/pills",),
    ),
    ("a slice is too small to be judged", against(**slice_of("drugs", paired(-0.5, -0.6, -0.4), 19)), Limits(), ()),
]


@pytest.mark.parametrize(("figures", "limits", "broken"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_verdict_is_that_of_its_rules(figures: GateFigures, limits: Limits, broken: tuple[str, ...]) -> None:
    verdict = decide(figures, limits)
    assert tuple(check.rule for check in verdict.checks if not check.passed) == broken
    assert verdict.blessed == (not broken)
    assert verdict.reasons == tuple(check.reason for check in verdict.checks if check.passed != bool(broken))


def test_every_broken_rule_is_a_reason() -> None:
    worst = dataclasses.replace(
        against(pr_auc=SAME, recall=paired(-0.3, -0.4, -0.2)), pr_auc=0.1, roc_auc=0.2, flags_per_night=1e6
    )
    assert len(decide(worst, Limits()).reasons) == 5


def test_a_first_model_and_a_small_slice_are_said_to_be_unjudged() -> None:
    assert any(
        "no stable model" in reason for reason in decide(dataclasses.replace(GOOD, comparison=None), Limits()).reasons
    )
    small = decide(against(**slice_of("drugs", SAME, 3)), Limits())
    assert any("not judged: drugs/pills" in reason for reason in small.reasons)


def test_an_override_blesses_keeps_the_reasons_and_is_noted_only_where_it_was_needed() -> None:
    override = Override("Kim", "the stable model misses a new drug")
    rejected = dataclasses.replace(GOOD, pr_auc=0.1)
    verdict = decide(rejected, Limits(), override)
    assert verdict.blessed
    assert verdict.override == override
    assert verdict.reasons == decide(rejected, Limits()).reasons
    assert decide(GOOD, Limits(), override).override is None


@pytest.mark.parametrize(("name", "reason"), [("Kim", ""), ("", "because"), ("Kim", "  "), ("\t", "because")])
def test_an_override_needs_both_a_name_and_a_reason(name: str, reason: str) -> None:
    with pytest.raises(SettingsError, match="both --override-by and --override-reason"):
        Override(name, reason)


@pytest.mark.parametrize("limits", [{"min_pr_auc": -0.1}, {"max_recall_loss": float("nan")}, {"min_slice_images": -1}])
def test_limits_that_cannot_be_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match="must not be negative"):
        Limits(**limits)  # type: ignore[arg-type]


def two_models(rng: np.random.Generator, images: int, spread: tuple[float, float]) -> tuple[Truth, Scores, Scores]:
    """Scores of one signal, each with noise of its own: of equal spread, the models are equally good."""
    truth = np.arange(images) < images // 4
    signal = rng.normal(np.where(truth, 2.0, 0.0), 1.0)
    ours, theirs = (1 / (1 + np.exp(-(signal + rng.normal(0, own, images)))) for own in spread)
    return truth, ours, theirs


def gain_is_shown(truth: Truth, ours: Scores, theirs: Scores, seed: int) -> bool:
    kinds = [("drugs", "") if drugs else ("other", "") for drugs in truth]
    comparison = compare(truth, kinds, Rival(ours, 0.9), Rival(theirs, 0.9), ReviewPlan(), Resampling(seed, 300))
    lenient = Limits(0, 0, max_recall_loss=1, max_precision_loss=1, max_slice_loss=1)
    return decide(dataclasses.replace(GOOD, comparison=comparison), lenient).blessed


@pytest.mark.parametrize("images", [80, 240])
def test_an_equal_candidate_is_not_blessed_by_luck_more_often_than_stated(images: int) -> None:
    rng, trials = np.random.default_rng(2024), 400
    blessed = sum(gain_is_shown(*two_models(rng, images, (1.0, 1.0)), seed) for seed in range(trials))
    assert 0 < blessed <= ERROR_RATE * trials


def test_the_very_same_scores_are_never_blessed() -> None:
    rng = np.random.default_rng(1)
    for seed in range(20):
        truth, ours, _ = two_models(rng, 100, (1.0, 1.0))
        assert not gain_is_shown(truth, ours, ours, seed)


def test_a_better_candidate_is_blessed_as_a_rule() -> None:
    rng = np.random.default_rng(3)
    blessed = sum(gain_is_shown(*two_models(rng, 400, (0.2, 2.0)), seed) for seed in range(30))
    assert blessed >= 28


def test_both_models_are_compared_each_at_its_own_threshold_on_the_same_images() -> None:
    truth = np.array([True] * 4 + [False] * 4)
    ours = Rival(np.array([0.9, 0.8, 0.7, 0.2, 0.6, 0.1, 0.1, 0.1]), 0.5)
    theirs = Rival(np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.1, 0.1, 0.1]), 0.75)
    kinds = [("drugs", "pills")] * 4 + [("other", "")] * 4
    found = compare(truth, kinds, ours, theirs, ReviewPlan(0.1, 1000), Resampling(0, 200))
    assert (found.images, found.recall.candidate, found.recall.stable) == (8, 0.75, 0.5)
    assert found.recall.difference is not None
    assert found.recall.difference.value == pytest.approx(0.25)
    assert found.flags_per_night.candidate == pytest.approx(75 + 900 / 4)
    assert found.flags_per_night.stable == pytest.approx(50)
    shares = {(one.label, one.slice): one.share_flagged for one in found.slices}
    assert shares["drugs", "pills"].candidate == 0.75
    assert shares["other", ""].stable == 0
