"""The trigger form of `rollout_serving`: its fields with their types, bounds and help, as Airflow params."""

from __future__ import annotations

from airflow.sdk import Param

_WHAT, _PROOF = "What", "Proof"

ROLL_OUT, ROLL_BACK = "roll out", "roll back"


def rollout_params() -> dict[str, Param]:
    """The form's fields. Every default validates; together they mean: the newest exported version, without approval."""
    return {
        "action": Param(
            ROLL_OUT,
            type="string",
            enum=[ROLL_OUT, ROLL_BACK],
            title="Action",
            section=_WHAT,
            description="`roll back` makes the previous version stable again, within a minute and without any check. "
            "If another run is at work or waits for an approval, mark that one as failed: the roll-back waits for it.",
        ),
        "version": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Version",
            section=_WHAT,
            description="The model version. Empty: the newest exported one; of a roll-back, the previous one.",
        ),
        "approval": Param(
            False,
            type="boolean",
            title="Ask for approval",
            section=_PROOF,
            description="Wait for a human, with the figures, before the version becomes stable. No answer in 12 hours "
            "counts as a rejection.",
        ),
        "limits": Param(
            None,
            type=["null", "object"],
            title="Limits",
            section=_PROOF,
            description='What `verify` lets pass where it differs from the defaults, such as {"max_flips": 0.5}; the '
            "names are the flags of `python -m sniffer_rollout`.",
        ),
    }
