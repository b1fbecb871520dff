"""Whether a candidate may replace the stable model: figures and limits in, a verdict with every reason out. Pure.

Superiority, not just non-inferiority: a candidate is blessed only when the whole interval of its gain in PR-AUC lies
above zero. One that is only as good as the stable model passes by luck with a probability of at most ERROR_RATE.

What is claimed of a night must be carried by the test split: a rule that rates decide is held against the end of an
exact interval, never against the rate that was seen (evidence.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sniffer.core.errors import SettingsError
from sniffer.core.gate_records import Check, GateFigures, ModelComparison, PairedFigure, SliceComparison
from sniffer.core.model_records import LABELS
from sniffer_model.gate.comparison import ERROR_RATE
from sniffer_model.gate.evidence import evidence_checks, laxer_limits
from sniffer_model.gate.limits import Limits
from sniffer_model.statistics.shares import holm

_COUNTED_ERROR_RATE = ERROR_RATE / 2
"""Of recall and all slices together; the other half is the precision's, whose 95 % interval has it at its upper end."""


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

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is to be read even where every rule is kept."""
        return tuple(check.reason for check in self.checks if check.warning)


def decide(figures: GateFigures, limits: Limits, override: Override | None = None) -> GateDecision:
    """Check every rule. Blessed when all are kept, or by an override, which is recorded only where it was needed.

    Raises ValueError for figures without their evidence, which only older releases have.
    """
    if figures.evidence is None:
        raise ValueError("a verdict needs the evidence behind its figures")
    checks = (
        *laxer_limits(limits),
        *_areas(figures, limits),
        *evidence_checks(figures, figures.evidence, limits),
        *(_against_stable(figures.comparison, limits) if figures.comparison else [_no_stable()]),
    )
    verdict = GateDecision(all(check.passed for check in checks), checks)
    if verdict.blessed or override is None:
        return verdict
    return replace(verdict, blessed=True, override=override)


def _areas(figures: GateFigures, limits: Limits) -> Iterator[Check]:
    for rule, name, value, minimum in (
        ("pr_auc", "PR-AUC", figures.pr_auc, limits.min_pr_auc),
        ("roc_auc", "ROC-AUC", figures.roc_auc, limits.min_roc_auc),
    ):
        passed = value >= minimum
        yield Check(rule, passed, f"{name} {value:.4f} is {'at least' if passed else 'below'} {minimum:g}")


def _no_stable() -> Check:
    return Check("comparison", True, "there is no stable model yet: judged by the absolute limits only")


def _against_stable(comparison: ModelComparison, limits: Limits) -> Iterator[Check]:
    yield _gain(comparison.pr_auc)
    judged = [one for one in comparison.slices if one.images >= limits.min_slice_images]
    counted = [comparison.recall, *(one.share_flagged for one in judged)]
    recall_is_lost, *slices_are_lost = holm([_p_value(one) for one in counted], _COUNTED_ERROR_RATE)
    yield _counted_loss(
        "recall_loss", "recall at the thresholds", comparison.recall, limits.max_recall_loss, recall_is_lost
    )
    yield _precision_loss(comparison.nightly_precision, limits.max_precision_loss)
    for one, is_lost in zip(judged, slices_are_lost, strict=True):
        yield _slice_loss(one, limits.max_slice_loss, is_lost)
    if len(judged) > 1:
        text = (
            f"recall and {len(judged)} slices are compared: a loss counts when it is shown in spite of their number "
            f"(Holm's method; at most {_COUNTED_ERROR_RATE:.1%} of equal models would show any)"
        )
        yield Check("many_slices", True, text)
    small = [_slice_name(one) for one in comparison.slices if one.images < limits.min_slice_images]
    if small:
        text = f"slices of fewer than {limits.min_slice_images} images are not judged: {', '.join(small)}"
        yield Check("small_slices", True, text)


def _p_value(figure: PairedFigure) -> float:
    return 1.0 if figure.loss_p_value is None else figure.loss_p_value


def _gain(pr_auc: PairedFigure) -> Check:
    gain = pr_auc.difference
    if gain is None:
        return Check("pr_auc_gain", False, "the gain in PR-AUC over the stable model is undefined")
    passed = gain.low > 0
    words = "is better than the stable model's" if passed else "is not shown to be better than the stable model's"
    return Check("pr_auc_gain", passed, f"PR-AUC {words}: {_values(pr_auc)}")


def _counted_loss(rule: str, name: str, figure: PairedFigure, limit: float, is_shown: bool, sign: int = -1) -> Check:
    """A loss of images, where a change of that `sign` is one."""
    change = figure.difference
    if change is None:
        return Check(rule, True, f"{name}: no comparison, since there are no such images")
    passed = not (is_shown and sign * change.value > limit)
    words = f"no loss above {limit:g} is shown" if passed else f"a loss above {limit:g}"
    return Check(rule, passed, f"{name}: {words}: {_values(figure)}")


def _precision_loss(figure: PairedFigure, limit: float) -> Check:
    rule, name, change = "precision_loss", "precision of a night's flags", figure.difference
    if change is None:
        return Check(rule, True, f"{name}: no comparison, since one of the models flags nothing")
    passed = not (-change.value > limit and change.high < 0)
    words = f"no loss above {limit:g} is shown" if passed else f"a loss above {limit:g}"
    return Check(rule, passed, f"{name}: {words}: {_values(figure)}")


def _slice_loss(one: SliceComparison, limit: float, is_shown: bool) -> Check:
    of_drugs = one.label == LABELS[1]
    name = f"{'recall' if of_drugs else 'false alarms'} among the {one.images} images of {_slice_name(one)}"
    return _counted_loss(
        f"slice {_slice_name(one)}", name, one.share_flagged, limit, is_shown, sign=-1 if of_drugs else 1
    )


def _slice_name(one: SliceComparison) -> str:
    return f"{one.label}/{one.slice}" if one.slice else f"{one.label} without a slice"


def _values(figure: PairedFigure) -> str:
    change = figure.difference
    values = f"{figure.candidate:.4f} against {figure.stable:.4f}"
    return values if change is None else f"{values}, {change.value:+.4f} [{change.low:+.4f}, {change.high:+.4f}]"
