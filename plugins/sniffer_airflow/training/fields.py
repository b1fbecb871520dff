"""The fields of the training DAGs' forms. `empty` gives the sentence on what a field that is left empty means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from airflow.sdk import Param

from sniffer_airflow.forms.fields import (
    MORE_OPTIONS,
    count_field,
    in_variable,
    limits_field,
    setting_field,
    share_field,
    text_field,
    text_rule,
)
from sniffer_airflow.forms.limits import SHARE, Bounds, Limits
from sniffer_airflow.forms.variables import in_words
from sniffer_airflow.names import RETRAINING_VARIABLE

OVERRIDE = "Accept a rejected model"

GATE_LIMITS: Limits = {
    "min_pr_auc": SHARE,
    "min_roc_auc": SHARE,
    "min_recall": SHARE,
    "min_nightly_precision": SHARE,
    "max_recall_loss": SHARE,
    "max_precision_loss": SHARE,
    "max_slice_loss": SHARE,
    "min_slice_images": Bounds(0, 1_000_000, whole=True),
    "min_class_images": Bounds(0, 1_000_000, whole=True),
    "capacity_tolerance": Bounds(0, 10),
}
"""The limits that `python -m sniffer_model.gate` takes as flags."""

Empty: TypeAlias = Callable[[str, str], str]
"""Of a field's name and its default in words."""


def retrain_fields(empty: Empty, *, fine_tuned: bool | None) -> dict[str, Param]:
    """Those of `retrain_model`; `fine_tuned` is what the Variable says today, None while that is unknown."""
    return {**_main_fields(empty, fine_tuned), **_more_fields(empty), **_override_fields()}


def watch_fields(empty: Empty) -> dict[str, Param]:
    """Those of `watch_labels`."""
    return {
        "source": _source(empty),
        "new_labels": count_field(
            "New labels needed",
            f"Retraining starts when at least this many labelled images are new. {empty('new_labels', '500')}",
        ),
    }


def publish_fields(empty: Empty) -> dict[str, Param]:
    """Those of `publish_labels`."""
    return {
        "review_labels": text_field(
            "Table of labels",
            "The file or s3://bucket/key, ending in .csv, that is replaced by what reviewers have decided. "
            f"{empty('review_labels', 'nothing is set, so a table must be given here')}",
            rule=text_rule("file or s3://bucket/key that ends in .csv", lambda text: text.lower().endswith(".csv")),
        ),
    }


def export_fields() -> dict[str, Param]:
    """Those of `export_model`."""
    return {
        "workdir": text_field(
            "Workdir",
            "Folder of a training run that passed the gate. *If empty:* the folder of the newest model that passed.",
        ),
    }


def variable_fields() -> Mapping[str, Param]:
    """Those that the Variable of RETRAINING_VARIABLE may have."""
    fields = {**retrain_fields(no_words, fine_tuned=None), **watch_fields(no_words), **publish_fields(no_words)}
    return {name: in_variable(field) for name, field in fields.items() if name not in _override_fields()}


def _main_fields(empty: Empty, fine_tuned: bool | None) -> dict[str, Param]:
    return {
        "source": _source(empty),
        "capacity": count_field(
            "Review capacity per night",
            "How many flagged images your reviewers can look at in one night. The threshold is chosen to stay within "
            f"it. {empty('capacity', 'the target precision below decides')}",
        ),
        "target_precision": share_field(
            "Target precision",
            "Share of flagged images that must really show drugs, such as 0.95. Decides the threshold when no "
            f"capacity is given here. {empty('target_precision', '0.95')}",
            may_be_one=True,
        ),
        "fine_tune": setting_field(
            "Fine-tune",
            "Also train the last block of the backbone. Takes longer; kept only if the validation PR-AUC improves.",
            decided_by=in_words(RETRAINING_VARIABLE),
            now=fine_tuned,
        ),
    }


def _more_fields(empty: Empty) -> dict[str, Param]:
    return {
        "prevalence": share_field(
            "Prevalence",
            f"Expected share of drug images among a night's new images, such as 0.002. {empty('prevalence', '0.01')}",
            may_be_one=False,
            section=MORE_OPTIONS,
        ),
        "nightly_volume": count_field(
            "Images per night",
            f"Expected number of new images per night. {empty('nightly_volume', '100,000')}",
            section=MORE_OPTIONS,
        ),
        "backbone_weights": text_field(
            "Backbone weights",
            "imagenet, the path of a weights file that all workers can read, or random (for a demo). "
            f"{empty('backbone_weights', 'imagenet')}",
            section=MORE_OPTIONS,
        ),
        "limits": limits_field(
            "Gate limits",
            'Limits of the gate that differ from its defaults, such as {"min_recall": 0.8}. '
            f"{empty('limits', 'the defaults of the gate')}",
            GATE_LIMITS,
            section=MORE_OPTIONS,
        ),
    }


def _override_fields() -> dict[str, Param]:
    return {
        "override_reason": text_field(
            "Reason",
            "Accepts the candidate even if the gate rejects it: why it may replace the stable model. Recorded with the "
            "verdict, under the name by which you are logged in. *If empty:* the gate decides.",
            longest=2000,
            section=OVERRIDE,
        ),
    }


def source_field() -> Param:
    """That of the labelled images, to check a source by."""
    return _source(no_words)


def _source(empty: Empty) -> Param:
    return text_field(
        "Labelled images",
        "A folder or s3://bucket/prefix with one subfolder per class (labels/drugs/…, labels/other/…), or a table "
        f"(CSV, TSV, Excel, Parquet). {empty('source', 'nothing is set, so a source must be given here')}",
    )


def no_words(name: str, default: str) -> str:  # noqa: ARG001 - what is only checked is not shown
    """For fields that values are checked by, and that nobody sees."""
    return ""
