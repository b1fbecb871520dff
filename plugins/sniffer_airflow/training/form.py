"""The trigger form of `retrain_model`: its fields with their types, bounds and help, as Airflow params."""

from __future__ import annotations

from airflow.sdk import Param

from sniffer_airflow.names import RETRAINING_VARIABLE

_DATA, _TRAINING, _NIGHT, _GATE = "Labelled images", "Training", "What a night looks like", "Gate"
_ELSE = f"Empty: as in the Variable `{RETRAINING_VARIABLE}`, else"

SOURCE = Param(
    None,
    type=["null", "string"],
    maxLength=1024,
    title="Source",
    section=_DATA,
    description="A folder or s3://bucket/prefix that holds `labels/<class>/…`, or a .csv or .parquet table. Empty: "
    f"`source` of the Variable `{RETRAINING_VARIABLE}`.",
)


def retrain_params() -> dict[str, Param]:
    """The form's fields. Every default validates; what is left empty is as the Variable says."""
    return {
        "source": SOURCE,
        "backbone_weights": Param(
            None,
            type=["null", "string"],
            title="Backbone weights",
            section=_TRAINING,
            description="`imagenet`, the path of a weights file that the workers see, or `random` (for a demo). "
            f"{_ELSE} `imagenet`.",
        ),
        "fine_tune": Param(
            False,
            type="boolean",
            title="Fine-tune",
            section=_TRAINING,
            description="Then tune the backbone's last block too; kept only if the validation PR-AUC gains by it.",
        ),
        "prevalence": Param(
            None,
            type=["null", "number"],
            exclusiveMinimum=0,
            exclusiveMaximum=1,
            title="Prevalence",
            section=_NIGHT,
            description=f"Assumed share of drugs among a night's images, such as 0.002. {_ELSE} 0.01.",
        ),
        "nightly_volume": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Images a night",
            section=_NIGHT,
            description=f"How many new images a night's scan meets. {_ELSE} 100,000.",
        ),
        "capacity": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Reviewers' capacity",
            section=_NIGHT,
            description="Flags a night that the reviewers can look at. When given, it chooses the threshold. "
            f"{_ELSE} the target precision chooses.",
        ),
        "target_precision": Param(
            None,
            type=["null", "number"],
            exclusiveMinimum=0,
            maximum=1,
            title="Target precision",
            section=_NIGHT,
            description="Share of a night's flags that must be right; chooses the threshold where no capacity is "
            f"given here. {_ELSE} 0.95.",
        ),
        "limits": Param(
            None,
            type=["null", "object"],
            title="Limits",
            section=_GATE,
            description='The gate\'s limits that differ from its defaults, such as {"min_recall": 0.8}; the names are '
            f"the flags of `python -m sniffer_model.gate`. {_ELSE} the defaults.",
        ),
        "override_by": Param(
            None,
            type=["null", "string"],
            maxLength=200,
            title="Override by",
            section=_GATE,
            description="Your name, to bless the candidate in spite of the gate. Needs a reason; both are recorded.",
        ),
        "override_reason": Param(
            None,
            type=["null", "string"],
            maxLength=2000,
            title="Override reason",
            section=_GATE,
            description="Why this candidate may replace the stable model although the gate rejects it.",
        ),
    }


def watch_params() -> dict[str, Param]:
    """The fields of `watch_labels`."""
    return {
        "source": SOURCE,
        "new_labels": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Enough",
            section=_DATA,
            description=f"New labelled images that start a retraining. {_ELSE} 500.",
        ),
    }


def export_params() -> dict[str, Param]:
    """The fields of `export_model`."""
    return {
        "workdir": Param(
            None,
            type=["null", "string"],
            title="Workdir",
            section="Model",
            description="Folder of a training run that the gate let pass. Empty: that of the newest blessed model.",
        ),
    }
