"""Whether a candidate may replace the stable model, and why: verdict.json, and the column `models.verdict`."""

from __future__ import annotations

from dataclasses import dataclass

from sniffer.core.model_metrics import IntervalEstimate


@dataclass(frozen=True, slots=True)
class PairedFigure:
    """A figure of both models, None where undefined; `difference` is candidate - stable, with its interval."""

    candidate: float | None
    stable: float | None
    difference: IntervalEstimate | None


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
class GateFigures:
    """All that a verdict rests on. Figures are of the candidate's test split, at its threshold.

    `comparison` is None only when there is no stable model yet; `capacity` is None when reviewers' time is unknown.
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


@dataclass(frozen=True, slots=True)
class Check:
    """One rule of the gate, whether it is kept, and why, for people."""

    rule: str
    passed: bool
    reason: str


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
