"""The gate's decision as the report tells it."""

from __future__ import annotations

from datetime import datetime

from sniffer.core.gate_records import ModelComparison
from sniffer_model.evaluation.report_sections import FigureBeside, Judged
from sniffer_model.gate.verdict import GateDecision

_SHOWN = {
    "pr_auc": ("PR-AUC", 4),
    "roc_auc": ("ROC-AUC", 4),
    "recall": ("recall at the threshold", 4),
    "nightly_precision": ("precision per night", 4),
    "flags_per_night": ("flags per night", 0),
}
"""Each figure of a comparison with its name for people, and how many decimals it is shown with."""


def judged_for_report(
    decision: GateDecision,
    comparison: ModelComparison | None,
    stable_version: int | None,
    version: int | None,
    judged_at: datetime,
) -> Judged:
    """What the report's first section says. `comparison` is None when there is no stable version yet."""
    override = decision.override
    return Judged(
        version=version,
        accepted=decision.blessed,
        judged_at=judged_at,
        reasons=tuple(reason for reason in decision.reasons if reason not in decision.warnings),
        warnings=decision.warnings,
        overridden_by=None if override is None else override.name,
        override_reason=None if override is None else override.reason,
        stable_version=stable_version,
        images=0 if comparison is None else comparison.images,
        figures=() if comparison is None else _figures(comparison),
    )


def _figures(comparison: ModelComparison) -> tuple[FigureBeside, ...]:
    found = ((name, decimals, getattr(comparison, field)) for field, (name, decimals) in _SHOWN.items())
    return tuple(
        FigureBeside(name, paired.candidate, paired.stable, paired.difference, decimals)
        for name, decimals, paired in found
    )
