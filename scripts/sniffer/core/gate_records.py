"""Whether a candidate may replace the stable model, and why: verdict.json, and the column `models.verdict`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sniffer.core.model_metrics import IntervalEstimate, ReviewAssumptions


@dataclass(frozen=True, slots=True)
class PairedFigure:
    """A figure of both models, None where undefined; `difference` is candidate - stable, with its interval.

    `loss_p_value` is how likely two equal models would lose at least as many of the images on which they differ; None
    where a figure does not count images.
    """

    candidate: float | None
    stable: float | None
    difference: IntervalEstimate | None
    loss_p_value: float | None = None


@dataclass(frozen=True, slots=True)
class SliceComparison:
    """The share that each model flags of a slice's images: recall among drugs, false alarms among the others."""

    label: str
    slice: str
    images: int
    share_flagged: PairedFigure


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """Candidate and stable model on the same held-out images, each at its own threshold."""

    images: int
    pr_auc: PairedFigure
    roc_auc: PairedFigure
    recall: PairedFigure
    nightly_precision: PairedFigure
    flags_per_night: PairedFigure
    slices: tuple[SliceComparison, ...]


@dataclass(frozen=True, slots=True)
class GateEvidence:
    """How much the held-out images can say of a night. Intervals are exact, of the test split at the threshold.

    `class_images` counts by split and label the images that are judged, of near-duplicates one each. `threshold_by`
    names the rule that chose the threshold, and `night` is what it is judged for. `prevalence_from` says where the
    night's prevalence came from, empty in the verdicts of releases that only assumed one; `prevalence_is_surprise`:
    audits exclude the one that the threshold was chosen for.
    """

    class_images: Mapping[str, Mapping[str, int]]
    recall: IntervalEstimate
    nightly_precision: IntervalEstimate | None
    flags_per_night: IntervalEstimate
    flags_per_false_alarm: float
    threshold_by: str
    target_precision: float
    night: ReviewAssumptions
    confidence: float
    prevalence_from: str = ""
    prevalence_is_surprise: bool = False


@dataclass(frozen=True, slots=True)
class GateFigures:
    """All that a verdict rests on. Figures are of the candidate's test split, at its threshold.

    `comparison` is None only when there is no stable model yet; `capacity` is None when reviewers' time is unknown.
    `evidence` is None in the verdicts of releases that did not weigh it yet.
    """

    pr_auc: float
    roc_auc: float
    recall: float | None
    nightly_precision: float | None
    flags_per_night: float
    capacity: float | None
    threshold_rule: str
    threshold_rule_kept: bool
    comparison: ModelComparison | None
    evidence: GateEvidence | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One rule of the gate, whether it is kept, and why, for people. A warning is kept, and still to be read."""

    rule: str
    passed: bool
    reason: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """The verdict on one candidate. `reasons` are the broken rules, or all rules when none is broken.

    `version` is the one reserved for the candidate, None without a database; `stable_version` the one it was compared
    with, None before there is one. `overridden_by` names who let a rejected candidate pass. `candidate_digest` is empty
    in the verdicts of releases that did not name candidates yet.
    """

    blessed: bool
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]
    overridden_by: str | None
    override_reason: str | None
    stable_version: int | None
    version: int | None
    manifest_digest: str
    training_digest: str
    figures: GateFigures
    candidate_digest: str = ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is to be read even where every rule is kept."""
        return tuple(check.reason for check in self.checks if check.warning)
