"""Whether a candidate may replace the stable model: figures and limits in, a verdict with every reason out. Pure.

Superiority, not just non-inferiority: a candidate is blessed only when the whole interval of its gain in PR-AUC lies
above zero. One that is only as good as the stable model passes by luck with a probability of at most ERROR_RATE.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

from sniffer.core.errors import SettingsError
from sniffer.core.gate_records import Check, GateFigures, ModelComparison, PairedFigure, SliceComparison
from sniffer.core.model_records import LABELS


@dataclass(frozen=True, slots=True)
class Limits:
    """What a candidate must achieve. A loss counts when it exceeds its limit and its interval excludes zero.

    `None` limits are not checked. `capacity_tolerance` is for the noise of the few false alarms behind the estimate.
    """

    min_pr_auc: float = 0.80
    min_roc_auc: float = 0.90
    min_recall: float | None = None
    min_nightly_precision: float | None = None
    max_recall_loss: float = 0.02
    max_precision_loss: float = 0.05
    max_slice_loss: float = 0.05
    min_slice_images: int = 20
    capacity_tolerance: float = 0.25

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            # Written so that NaN is refused too.
            if value is not None and not value >= 0:
                raise SettingsError(f"--{field.name.replace('_', '-')} must not be negative, not {value:g}")


@dataclass(frozen=True, slots=True)
class Override:
    """Who takes responsibility for a model that the gate rejects, and why."""

    name: str
    reason: str

    def __post_init__(self) -> None:
        if not (self.name.strip() and self.reason.strip()):
            raise SettingsError("an override needs both --override-by and --override-reason")


@dataclass(frozen=True, slots=True)
class GateDecision:
    """What the gate decides; `checks` has every rule that was checked, in order."""

    blessed: bool
    checks: tuple[Check, ...]
    override: Override | None = None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Every broken rule; all rules when none is broken."""
        broken = tuple(check.reason for check in self.checks if not check.passed)
        return broken or tuple(check.reason for check in self.checks)


def decide(figures: GateFigures, limits: Limits, override: Override | None = None) -> GateDecision:
    """Check every rule. Blessed when all are kept, or by an override, which is recorded only where it was needed."""
    checks = (
        *_absolute(figures, limits),
        _capacity(figures, limits),
        *(_against_stable(figures.comparison, limits) if figures.comparison else [_no_stable()]),
    )
    verdict = GateDecision(all(check.passed for check in checks), checks)
    if verdict.blessed or override is None:
        return verdict
    return replace(verdict, blessed=True, override=override)


def _absolute(figures: GateFigures, limits: Limits) -> Iterator[Check]:
    yield _at_least("pr_auc", "PR-AUC", figures.pr_auc, limits.min_pr_auc)
    yield _at_least("roc_auc", "ROC-AUC", figures.roc_auc, limits.min_roc_auc)
    if not figures.recall:
        yield Check("recall", False, "nothing is found: no drugs of the test split are flagged at the threshold")
    elif limits.min_recall is not None:
        yield _at_least("recall", "recall", figures.recall, limits.min_recall)
    if limits.min_nightly_precision is not None:
        name = "precision of a night's flags"
        yield _at_least("nightly_precision", name, figures.nightly_precision, limits.min_nightly_precision)
    kept = "kept" if figures.threshold_rule_kept else "NOT kept by any threshold"
    reason = f"the threshold's rule is {kept} on the validation split: {figures.threshold_rule}"
    yield Check("threshold_rule", figures.threshold_rule_kept, reason)


def _at_least(rule: str, name: str, value: float | None, minimum: float) -> Check:
    if value is None:
        return Check(rule, False, f"{name} is undefined: nothing is flagged; at least {minimum:g} is needed")
    passed = value >= minimum
    return Check(rule, passed, f"{name} {value:.4f} is {'at least' if passed else 'below'} {minimum:g}")


def _capacity(figures: GateFigures, limits: Limits) -> Check:
    flags = f"{figures.flags_per_night:,.0f} flags per night are expected"
    if figures.capacity is None:
        return Check("capacity", True, f"{flags}; no capacity was given to hold them against")
    most = figures.capacity * (1 + limits.capacity_tolerance)
    passed = figures.flags_per_night <= most
    words = "at most" if passed else "more than"
    return Check(
        "capacity",
        passed,
        f"{flags}, {words} {most:,.0f}: the reviewers' {figures.capacity:,.0f} and {limits.capacity_tolerance:.0%}",
    )


def _no_stable() -> Check:
    return Check("comparison", True, "there is no stable model yet: judged by the absolute limits only")


def _against_stable(comparison: ModelComparison, limits: Limits) -> Iterator[Check]:
    yield _gain(comparison.pr_auc)
    yield _loss("recall_loss", "recall at the thresholds", comparison.recall, limits.max_recall_loss)
    name = "precision of a night's flags"
    yield _loss("precision_loss", name, comparison.nightly_precision, limits.max_precision_loss)
    for one in comparison.slices:
        if one.images >= limits.min_slice_images:
            yield _slice_loss(one, limits.max_slice_loss)
    small = [_slice_name(one) for one in comparison.slices if one.images < limits.min_slice_images]
    if small:
        text = f"slices of fewer than {limits.min_slice_images} images are not judged: {', '.join(small)}"
        yield Check("small_slices", True, text)


def _gain(pr_auc: PairedFigure) -> Check:
    gain = pr_auc.difference
    if gain is None:
        return Check("pr_auc_gain", False, "the gain in PR-AUC over the stable model is undefined")
    passed = gain.low > 0
    words = "is better than the stable model's" if passed else "is not shown to be better than the stable model's"
    return Check("pr_auc_gain", passed, f"PR-AUC {words}: {_values(pr_auc)}")


def _loss(rule: str, name: str, figure: PairedFigure, limit: float, *, more_is_worse: bool = False) -> Check:
    change = figure.difference
    if change is None:
        return Check(rule, True, f"{name}: no comparison, since one of the models flags nothing")
    loss, least = (change.value, change.low) if more_is_worse else (-change.value, -change.high)
    passed = not (loss > limit and least > 0)
    words = f"no loss above {limit:g} is shown" if passed else f"a loss above {limit:g}"
    return Check(rule, passed, f"{name}: {words}: {_values(figure)}")


def _slice_loss(one: SliceComparison, limit: float) -> Check:
    of_drugs = one.label == LABELS[1]
    name = f"{'recall' if of_drugs else 'false alarms'} among the {one.images} images of {_slice_name(one)}"
    return _loss(f"slice {_slice_name(one)}", name, one.share_flagged, limit, more_is_worse=not of_drugs)


def _slice_name(one: SliceComparison) -> str:
    return f"{one.label}/{one.slice}" if one.slice else f"{one.label} without a slice"


def _values(figure: PairedFigure) -> str:
    change = figure.difference
    values = f"{figure.candidate:.4f} against {figure.stable:.4f}"
    return values if change is None else f"{values}, {change.value:+.4f} [{change.low:+.4f}, {change.high:+.4f}]"
