"""The trigger forms of the training DAGs: their fields, as Airflow params, and what was filled in, as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from airflow.sdk import Param

from sniffer.core.errors import SettingsError
from sniffer_airflow.forms import (
    MORE_OPTIONS,
    Json,
    Values,
    count_field,
    limits_field,
    literally,
    share_field,
    switch_field,
    text_field,
)
from sniffer_airflow.names import RETRAINING_VARIABLE
from sniffer_airflow.training.settings import Retraining, retraining_now

_OVERRIDE = "Accept a rejected model"

GATE_LIMITS = (
    "min_pr_auc",
    "min_roc_auc",
    "min_recall",
    "min_nightly_precision",
    "max_recall_loss",
    "max_precision_loss",
    "max_slice_loss",
    "min_slice_images",
    "min_class_images",
    "capacity_tolerance",
)
"""The limits that `python -m sniffer_model.gate` takes as flags."""


@dataclass(frozen=True)
class RetrainForm:
    """The form of `retrain_model` as it was filled in; None is a field that was left empty."""

    source: str | None = None
    capacity: int | None = None
    target_precision: float | None = None
    fine_tune: bool = False
    prevalence: float | None = None
    nightly_volume: int | None = None
    backbone_weights: str | None = None
    limits: Mapping[str, float] | None = None
    override_by: str | None = None
    override_reason: str | None = None

    @classmethod
    def parse(cls, params: Mapping[str, Json]) -> RetrainForm:
        """From a DAG run's params; SettingsError names the field that is wrong."""
        values = Values(params)
        form = cls(
            source=values.text("source"),
            capacity=values.count("capacity"),
            target_precision=values.share("target_precision"),
            fine_tune=values.switch("fine_tune"),
            prevalence=values.share("prevalence"),
            nightly_volume=values.count("nightly_volume"),
            backbone_weights=values.text("backbone_weights"),
            limits=values.limits("limits"),
            override_by=values.text("override_by"),
            override_reason=values.text("override_reason"),
        )
        if bool(form.override_by) != bool(form.override_reason):
            raise SettingsError(f"fill in both fields of {_OVERRIDE!r}, your name and the reason, or neither")
        return form


@dataclass(frozen=True)
class WatchForm:
    """The form of `watch_labels` as it was filled in."""

    source: str | None = None
    new_labels: int | None = None

    @classmethod
    def parse(cls, params: Mapping[str, Json]) -> WatchForm:
        """From a DAG run's params."""
        values = Values(params)
        return cls(values.text("source"), values.count("new_labels"))


def retrain_params() -> dict[str, Param]:
    """The form's fields. Every default validates; what is left empty is as the Variable says."""
    empty = _Defaults(retraining_now())
    return {**_main_fields(empty), **_more_fields(empty), **_override_fields()}


def _main_fields(empty: _Defaults) -> dict[str, Param]:
    return {
        "source": _source(empty),
        "capacity": count_field(
            "Review capacity per night",
            "How many flagged images your reviewers can look at in one night. The threshold is chosen to stay within "
            f"it. {empty.text('capacity', 'the target precision below decides')}",
        ),
        "target_precision": share_field(
            "Target precision",
            "Share of flagged images that must really show drugs, such as 0.95. Decides the threshold when no "
            f"capacity is given here. {empty.text('target_precision', '0.95')}",
            may_be_one=True,
        ),
        "fine_tune": switch_field(
            "Fine-tune",
            "Also train the last block of the backbone. Takes longer; kept only if the validation PR-AUC improves. "
            f"{empty.when_off('fine_tune')}".strip(),
        ),
    }


def _more_fields(empty: _Defaults) -> dict[str, Param]:
    return {
        "prevalence": share_field(
            "Prevalence",
            "Expected share of drug images among a night's new images, such as 0.002. "
            f"{empty.text('prevalence', '0.01')}",
            may_be_one=False,
            section=MORE_OPTIONS,
        ),
        "nightly_volume": count_field(
            "Images per night",
            f"Expected number of new images per night. {empty.text('nightly_volume', '100,000')}",
            section=MORE_OPTIONS,
        ),
        "backbone_weights": text_field(
            "Backbone weights",
            "imagenet, the path of a weights file that all workers can read, or random (for a demo). "
            f"{empty.text('backbone_weights', 'imagenet')}",
            section=MORE_OPTIONS,
        ),
        "limits": limits_field(
            "Gate limits",
            'Limits of the gate that differ from its defaults, such as {"min_recall": 0.8}. '
            f"{empty.text('limits', 'the defaults of the gate')}",
            GATE_LIMITS,
            section=MORE_OPTIONS,
        ),
    }


def _override_fields() -> dict[str, Param]:
    return {
        "override_by": text_field(
            "Your name",
            "Accepts the candidate even if the gate rejects it. Name and reason are both needed, and both are recorded "
            "with the verdict. *If empty:* the gate decides.",
            longest=200,
            section=_OVERRIDE,
        ),
        "override_reason": text_field(
            "Reason",
            "Why this candidate may replace the stable model although the gate rejects it.",
            longest=2000,
            section=_OVERRIDE,
        ),
    }


def watch_params() -> dict[str, Param]:
    """The fields of `watch_labels`."""
    empty = _Defaults(retraining_now())
    return {
        "source": _source(empty),
        "new_labels": count_field(
            "New labels needed",
            f"Retraining starts when at least this many labelled images are new. {empty.text('new_labels', '500')}",
        ),
    }


def export_params() -> dict[str, Param]:
    """The fields of `export_model`."""
    return {
        "workdir": text_field(
            "Workdir",
            "Folder of a training run that passed the gate. *If empty:* the folder of the newest model that passed.",
        ),
    }


def _source(empty: _Defaults) -> Param:
    return text_field(
        "Labelled images",
        "A folder or s3://bucket/prefix with one subfolder per class (labels/drugs/…, labels/other/…), or a table "
        f"(CSV, TSV, Excel, Parquet). {empty.text('source', 'nothing is set, so a source must be given here')}",
        longest=1024,
    )


class _Defaults:
    """What an empty field means, in words, with today's value."""

    def __init__(self, variable: Retraining | None) -> None:
        self._variable = variable

    def text(self, name: str, default: str) -> str:
        """The Variable's value of that field, or else the default, in words."""
        if self._variable is None:
            unknown = (
                f"unknown, since the Variable {RETRAINING_VARIABLE} cannot be read, or is not valid, at the moment"
            )
            return f"*If empty:* {unknown}."
        value = getattr(self._variable, name)
        if value in (None, {}) or value == getattr(Retraining(), name):
            return f"*If empty:* {default} (or {name} in the Variable {RETRAINING_VARIABLE}, currently not set)."
        shown = f"**{value:,}**" if isinstance(value, int) else literally(str(value))
        return f"*If empty:* currently {shown} ({name} in the Variable {RETRAINING_VARIABLE})."

    def when_off(self, name: str) -> str:
        """What a switch that is off means, where the Variable has it on."""
        on = self._variable is not None and getattr(self._variable, name)
        return f"Currently always on, by {name} in the Variable {RETRAINING_VARIABLE}." if on else ""
