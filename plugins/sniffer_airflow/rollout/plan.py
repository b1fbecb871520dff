"""Plan stage of `rollout_serving`: which version, and the flags of each step. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from sniffer.core.errors import SettingsError
from sniffer.core.flags import render_flags
from sniffer_airflow.rollout.form import FORCE_FIELD, GOLDEN_LIMITS, ROLL_BACK, RolloutForm


@dataclass(frozen=True)
class RolloutPlan:
    """One rollout or roll-back: its version, the first step, and the flags of each step."""

    action: str
    version: int
    first: str
    preflight: list[str]
    load: list[str]
    verify: list[str]
    promote: list[str]
    rollback: list[str]


def plan_rollout(form: RolloutForm, exported: int | None, previous: int | None, model_base: str) -> RolloutPlan:
    """`exported` is the newest exported version, `previous` the one that a roll-back goes to; None: there is none."""
    back = form.action == ROLL_BACK
    version = form.version or (previous if back else exported)
    if version is None:
        raise SettingsError(
            "there is no previous version to go back to"
            if back
            else "no version has been exported here yet: run export_model, or name a version in the form"
        )
    named = render_flags({"version": version, "model_base_path": model_base})
    golden = render_flags({name: limit for name, limit in form.limits.items() if name in GOLDEN_LIMITS})
    changing = [*named, *render_flags({FORCE_FIELD: form.force_conflicts})]
    return RolloutPlan(
        action=form.action,
        version=version,
        first="rollback" if back else "tidy_up",
        preflight=["preflight", *named],
        load=["load", *changing, *golden],
        verify=["verify", *changing, *render_flags(form.limits)],
        promote=["promote", *changing, *golden],
        rollback=["rollback", *changing],
    )
