"""The gate's decision: a table of cases at its boundaries. How often luck gets past it is in test_error_rates.py."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import pytest
from support.judged import EVIDENCE, FIGURES

from sniffer.core.errors import SettingsError
from sniffer.core.gate_records import GateFigures, ModelComparison, PairedFigure, SliceComparison
from sniffer.core.model_metrics import IntervalEstimate
from sniffer.core.model_records import LABELS
from sniffer_model.gate.__main__ import _stable_version
from sniffer_model.gate.limits import Limits
from sniffer_model.gate.verdict import Override, decide


def paired(value: float, low: float, high: float, stable: float = 0.9, p: float | None = None) -> PairedFigure:
    """A figure whose loss is shown, or not, by that p-value, or else by the interval."""
    shown = 0.0001 if high < 0 or low > 0 else 0.5
    return PairedFigure(stable + value, stable, IntervalEstimate(value, low, high), shown if p is None else p)


SAME = paired(0.0, -0.01, 0.01)
BETTER = ModelComparison(500, paired(0.02, 0.001, 0.04), SAME, SAME, SAME, SAME, ())
GOOD = dataclasses.replace(FIGURES, comparison=BETTER)


def against(**figures: Any) -> GateFigures:
    return dataclasses.replace(GOOD, comparison=dataclasses.replace(BETTER, **figures))


def evidence(**fields: Any) -> GateFigures:
    return dataclasses.replace(GOOD, evidence=dataclasses.replace(EVIDENCE, **fields))


def slice_of(label: str, figure: PairedFigure, images: int = 50) -> dict[str, Any]:
    return {"slices": (SliceComparison(label, "pills", images, figure),)}


def classes(validation: tuple[int, int] = (500, 500), test: tuple[int, int] = (500, 500)) -> GateFigures:
    """With that many of other and of drugs."""
    held_out = {"validation": validation, "test": test}
    return evidence(class_images={split: dict(zip(LABELS, sizes, strict=True)) for split, sizes in held_out.items()})


def first(figures: GateFigures) -> GateFigures:
    return dataclasses.replace(figures, comparison=None)


TARGET_EVIDENCE = dataclasses.replace(
    EVIDENCE, threshold_by="target_precision", night=dataclasses.replace(EVIDENCE.night, capacity=None)
)


def by_target(target: float, **fields: Any) -> GateFigures:
    """Judged by a precision, whose interval begins at 0.5, and without a capacity."""
    return dataclasses.replace(GOOD, evidence=dataclasses.replace(TARGET_EVIDENCE, target_precision=target, **fields))


def flags(most: float) -> GateFigures:
    return evidence(flags_per_night=IntervalEstimate(900.0, 800.0, most))


CASES: list[tuple[str, GateFigures, Limits, tuple[str, ...]]] = [
    ("everything is kept", GOOD, Limits(), ()),
    ("the areas are at their limits", dataclasses.replace(GOOD, pr_auc=0.8, roc_auc=0.9), Limits(), ()),
    ("PR-AUC is just below", dataclasses.replace(GOOD, pr_auc=0.7999), Limits(), ("pr_auc",)),
    ("ROC-AUC is just below", dataclasses.replace(GOOD, roc_auc=0.8999), Limits(), ("roc_auc",)),
    ("recall's interval begins at the limit", GOOD, Limits(min_recall=0.7), ()),
    ("recall's interval begins below the limit", GOOD, Limits(min_recall=0.71), ("recall",)),
    ("no drugs are found, whatever the limits", dataclasses.replace(GOOD, recall=0.0), Limits(0, 0), ("recall",)),
    ("the night's precision begins at the limit", GOOD, Limits(min_nightly_precision=0.5), ()),
    ("the night's precision begins below", GOOD, Limits(min_nightly_precision=0.51), ("nightly_precision",)),
    (
        "nothing is flagged",
        evidence(nightly_precision=None),
        Limits(min_nightly_precision=0.1),
        ("nightly_precision",),
    ),
    ("each class is just large enough", GOOD, Limits(min_class_images=120), ()),
    ("a class is just too small", GOOD, Limits(min_class_images=121), ("class_images",)),
    ("a class of the validation split is too small", classes(validation=(500, 99)), Limits(), ("class_images",)),
    ("a class of the test split is too small", classes(test=(99, 500)), Limits(), ("class_images",)),
    ("no stable model, and too few images", first(classes(test=(5, 5))), Limits(), ("class_images",)),
    ("the target is shown on the test split", by_target(0.5), Limits(), ()),
    ("the target is not shown on the test split", by_target(0.51), Limits(), ("target_on_test",)),
    (
        "the target is missed, since nothing is flagged",
        by_target(0.4, nightly_precision=None),
        Limits(),
        ("target_on_test",),
    ),
    (
        "one false alarm is more than the target leaves room for",
        by_target(0.5, flags_per_false_alarm=801.0),
        Limits(),
        ("resolution",),
    ),
    ("one false alarm is more than the capacity", evidence(flags_per_false_alarm=451.0), Limits(), ("resolution",)),
    (
        "no threshold keeps the rule",
        dataclasses.replace(GOOD, threshold_rule_kept=False),
        Limits(),
        ("threshold_rule",),
    ),
    ("the most flags are at the tolerated capacity", flags(1250.0), Limits(), ()),
    ("the most flags are above it", flags(1251.0), Limits(), ("capacity",)),
    ("the most flags are above it, nothing tolerated", flags(1001.0), Limits(capacity_tolerance=0.0), ("capacity",)),
    ("no capacity is known", by_target(0.5), Limits(), ()),
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
        "a slice is lost that chance explains among so many",
        against(
            slices=tuple(
                SliceComparison("drugs", f"kind {n}", 50, paired(-0.1, -0.2, -0.01, p=0.01 if n else 0.003))
                for n in range(20)
            )
        ),
        Limits(),
        (),
    ),
    (
        "a slice is lost beyond what chance explains",
        against(
            slices=tuple(
                SliceComparison("drugs", f"kind {n}", 50, paired(-0.1, -0.2, -0.01, p=0.01 if n else 0.001))
                for n in range(20)
            )
        ),
        Limits(),
        ("slice drugs/kind 0",),
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
        against(pr_auc=SAME, recall=paired(-0.3, -0.4, -0.2)), pr_auc=0.1, roc_auc=0.2, evidence=flags(1e6).evidence
    )
    assert len(decide(worst, Limits()).reasons) == 5


def test_a_split_that_cannot_show_the_target_says_how_many_images_would() -> None:
    figures = by_target(0.5)
    assert figures.evidence is not None
    night = dataclasses.replace(figures.evidence.night, prevalence=1e-4, nightly_volume=4_000_000)
    poor = dataclasses.replace(
        figures.evidence,
        night=night,
        target_precision=0.95,
        class_images={split: {"other": 5, "drugs": 5} for split in ("validation", "test")},
        flags_per_false_alarm=4_000_000 / 5,
        flags_per_night=IntervalEstimate(1_600_240.0, 20_000.0, 3_500_000.0),
    )
    verdict = decide(first(dataclasses.replace(figures, evidence=poor)), Limits())
    assert not verdict.blessed
    reasons = " | ".join(verdict.reasons)
    assert "5 other (validation), 5 drugs (validation), 5 other (test), 5 drugs (test)" in reasons
    assert "one false alarm among the 5 test images of other stands for 800,000 flags per night" in reasons
    # ln(0.0125) / ln(1 - 16.8 / 3,999,600), for a recall of 0.8: 16.8 wrong flags beside 320 that are right.
    assert "it takes about 1,040,626 test images of other" in reasons
    assert "not shown to be at least the target, 0.95" in reasons


def test_limits_below_the_defaults_are_a_warning_in_every_verdict() -> None:
    small = Limits(min_pr_auc=0.7, min_class_images=20, min_slice_images=50)
    for figures in (GOOD, dataclasses.replace(GOOD, pr_auc=0.1)):
        (warning,) = decide(figures, small).warnings
        for words in ("min_pr_auc 0.7 (default 0.8)", "min_class_images 20 (default 100)", "min_slice_images 50"):
            assert words in warning
    assert decide(GOOD, Limits(min_pr_auc=0.9, min_class_images=110, capacity_tolerance=0.3, min_recall=0.1)).warnings
    assert not decide(GOOD, Limits(min_pr_auc=0.9, min_class_images=110, capacity_tolerance=0.2)).warnings


def test_figures_of_an_older_release_cannot_be_judged() -> None:
    with pytest.raises(ValueError, match="evidence"):
        decide(dataclasses.replace(GOOD, evidence=None), Limits())


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


@pytest.mark.parametrize(
    "limits",
    [
        {"min_pr_auc": -0.1},
        {"max_recall_loss": float("nan")},
        {"min_slice_images": -1},
        {"capacity_tolerance": float("inf")},
    ],
)
def test_limits_that_cannot_be_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match="must be a number from 0 on"):
        Limits(**limits)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["\u0663", "\u00b2", "9" * 5000, "1.0", "-1", "", "None"])
def test_a_stable_version_that_is_no_number_is_refused_in_a_line(text: str) -> None:
    with pytest.raises(SettingsError, match="--stable-version must be a number or `none`") as refused:
        _stable_version(argparse.Namespace(stable_version=text, no_register=True))
    assert len(str(refused.value)) < 120
