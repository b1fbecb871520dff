"""The trigger form of `rollout_serving`: its fields, as Airflow params, and what was filled in, as one record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from airflow.sdk import Param

from sniffer.core.errors import SettingsError
from sniffer_airflow.forms.fields import (
    MORE_OPTIONS,
    Json,
    choice_field,
    count_field,
    limits_field,
    literally,
    switch_field,
)
from sniffer_airflow.forms.limits import SHARE, Bounds, Limits
from sniffer_airflow.forms.values import checked
from sniffer_airflow.names import APPROVAL_LIMIT, ROLLOUT_DAG, form_of
from sniffer_airflow.rollout.policy import ApprovalPolicy

ROLL_OUT, ROLL_BACK = "roll out", "roll back"
FORCE_FIELD = "force_conflicts"
LARGEST_VERSION = 9_999_999_999
"""A published version's folder has at most ten digits."""

GOLDEN_LIMITS: Limits = {"golden_tolerance": SHARE, "encoded_tolerance": SHARE}
"""Those of VERIFY_LIMITS that `load` and `promote` take too, which prove the golden examples again."""

VERIFY_LIMITS: Limits = {
    **GOLDEN_LIMITS,
    "latency_rounds": Bounds(1, 10_000, whole=True),
    "latency_batch": Bounds(1, 1024, whole=True),
    "max_median_ratio": Bounds(0, 1000),
    "max_p95_ratio": Bounds(0, 1000),
    "latency_floor_ms": Bounds(0, 60_000),
    "shadow_images": Bounds(0, 10_000, whole=True),
    "least_shadow_images": Bounds(0, 10_000, whole=True),
    "max_flips": SHARE,
    "max_flag_change": SHARE,
}
"""The limits that `python -m sniffer_rollout verify` takes as flags."""


@dataclass(frozen=True)
class RolloutForm:
    """The form as it was filled in; None is a field that was left empty."""

    action: str
    version: int | None
    approval: bool
    limits: Mapping[str, float]
    force_conflicts: bool

    @classmethod
    def parse(cls, params: Mapping[str, Json]) -> RolloutForm:
        """From a DAG run's params; SettingsError names the field that is wrong."""
        values = checked(params, rollout_params(), form_of(ROLLOUT_DAG))
        return cls(
            action=values.text("action") or ROLL_OUT,
            version=values.count("version"),
            approval=values.switch("approval"),
            limits=values.limits("limits"),
            force_conflicts=values.switch(FORCE_FIELD),
        )


def rollout_params() -> dict[str, Param]:
    """The form's fields. Every default validates; together they mean: the newest exported version, without approval."""
    return {
        "action": choice_field(
            "Action",
            "**Roll back** makes the previous version stable again within a minute, without any check. If another run "
            "is at work or waits for an approval, mark that run as failed first; until then the roll-back waits.",
            {ROLL_OUT: "Roll out a version", ROLL_BACK: "Roll back to the previous version"},
        ),
        "version": count_field(
            "Model version",
            "*If empty:* the newest exported version; for a roll-back, the version that was stable before.",
            most=LARGEST_VERSION,
        ),
        "approval": switch_field(
            "Ask for approval",
            "Wait for a person to look at the figures before the version becomes stable. No answer within "
            f"{APPROVAL_LIMIT.total_seconds() / 3600:.0f} hours counts as a rejection. {_in_any_case()}",
        ),
        "limits": limits_field(
            "Limits of verify",
            'Limits that differ from the defaults of verify, such as {"max_flips": 0.5}. *If empty:* the defaults.',
            VERIFY_LIMITS,
            section=MORE_OPTIONS,
        ),
        FORCE_FIELD: switch_field(
            "Take over manual changes",
            "Overwrite what somebody changed by hand in what the model servers are told to serve. Without it, such a "
            "change stops the run, whose log names who made it.",
            section=MORE_OPTIONS,
        ),
    }


def _in_any_case() -> str:
    """What the settings of Airflow's processes ask for, whatever the form says."""
    try:
        policy = ApprovalPolicy.read()
    except SettingsError as error:  # `plan` fails by it; the form must not be lost with it
        return f"Who must approve is unknown: {literally(str(error))}."
    wait = [
        *(["what a person asked for, until another person approves it"] if policy.four_eyes else []),
        *(["what an export started"] if policy.approve_automatic else []),
    ]
    return f"Here **{' and '.join(wait)}** waits in any case." if wait else "Here nothing else waits for an approval."
