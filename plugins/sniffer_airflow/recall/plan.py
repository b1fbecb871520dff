"""What a run of `measure_recall` does: the flags of its programs. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from sniffer.core.flags import render_flags
from sniffer_airflow.recall.form import RecallForm


@dataclass(frozen=True)
class RecallPlan:
    """The flags of `draw` and `measure`."""

    draw: list[str]
    measure: list[str]


def plan_recall(form: RecallForm, defaults: RecallForm) -> RecallPlan:
    """The form's values, or else the Variable's; what neither has, the programs have defaults for.

    A scan that cannot be drawn from must not keep the others from being measured: the report is red for it.
    """
    return RecallPlan(
        [*render_flags({"labels": form.labels or defaults.labels}), "--allow-left-out"],
        [*render_flags({"nights": form.nights or defaults.nights}), "--allow-empty"],
    )
