"""Plan stage of the training DAGs: from the form and the Variables to the flags of each program. Pure.

Contradictory input is a SettingsError that names the way out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sniffer.core.errors import SettingsError
from sniffer.core.flags import render_flags
from sniffer.core.model_records import NAME_CHARS
from sniffer.core.text import one_line
from sniffer_airflow.names import RETRAINING_VARIABLE, workdir_of
from sniffer_airflow.training.form import PublishForm, RetrainForm, WatchForm
from sniffer_airflow.training.settings import Retraining, TrainingSettings


@dataclass(frozen=True)
class TrainingPlan:
    """One training run: its workdir, and the flags of each program."""

    workdir: str
    snapshot: list[str]
    train: list[str]
    evaluate: list[str]
    gate: list[str]


@dataclass(frozen=True)
class WatchPlan:
    """The flags of `count_labels`, how many new labels start a retraining, and of which source."""

    count_labels: list[str]
    enough: int
    source: str


@dataclass(frozen=True)
class PublishPlan:
    """The flags of `publish`."""

    publish: list[str]


@dataclass(frozen=True)
class ExportPlan:
    """The flags of `export`."""

    export: list[str]


def plan_training(
    run_name: str, form: RetrainForm, settings: TrainingSettings, watched: str | None = None
) -> TrainingPlan:
    """Workdir, and the flags of snapshot, train, evaluate and gate.

    `watched` is the source whose new labels have started this run: it comes before the Variable's, which may be
    another by now.
    """
    defaults = settings.retraining if watched is None else replace(settings.retraining, source=watched)
    chosen = _chosen(form, defaults)
    workdir = workdir_of(settings.training_dir, run_name)
    at, cache = [f"--workdir={workdir}"], [f"--feature-cache={settings.features}"]
    training = {"backbone_weights": chosen.backbone_weights, "fine_tune": chosen.fine_tune}
    night = {
        "prevalence": chosen.prevalence,
        "nightly_volume": chosen.nightly_volume,
        "capacity": chosen.capacity,
        "target_precision": chosen.target_precision,
    }
    limits = {"model_base_path": settings.model_base, **chosen.limits}
    return TrainingPlan(
        workdir=workdir,
        snapshot=[*at, *render_flags({"source": chosen.source, "lineage": settings.lineage})],
        train=[*at, *cache, *render_flags(training)],
        evaluate=[*at, *cache, *render_flags(night)],
        gate=[*at, *cache, *render_flags(limits)],
    )


def override_flags(form: RetrainForm, user: str | None) -> list[str]:
    """The flags of gate for an override, which is that of the user who triggered the run; none without a reason."""
    if form.override_reason is None:
        return []
    if not user:
        raise SettingsError(
            "override_reason accepts a rejected model, and Airflow knows of nobody who triggered this run: trigger it "
            "by the form or the API, logged in under your own name"
        )
    return render_flags({"override_by": one_line(user, NAME_CHARS), "override_reason": form.override_reason})


def plan_watch(form: WatchForm, settings: TrainingSettings) -> WatchPlan:
    """What `count_labels` counts, and how many new ones are enough."""
    source = _source(form.source, settings.retraining)
    count = render_flags({"source": source, "lineage": settings.lineage})
    return WatchPlan(count, form.new_labels or settings.retraining.new_labels, source)


def plan_publish(form: PublishForm, retraining: Retraining) -> PublishPlan:
    """Which table is written: the form's, or else the Variable's."""
    table = form.review_labels or retraining.review_labels
    if not table:
        raise SettingsError(
            "no table of labels: enter one in the form, or set `review_labels` in the Variable "
            f"{RETRAINING_VARIABLE}, such as s3://my-labels/2026/part-review.csv"
        )
    return PublishPlan(render_flags({"to": table}))


def plan_export(workdir: str | None, blessed: Sequence[str], settings: TrainingSettings) -> ExportPlan:
    """The flags of export for the workdir of the form, or else the last of the workdirs of blessed models."""
    chosen = workdir or (blessed[-1] if blessed else None)
    if not chosen:
        raise SettingsError("no model has passed the gate yet: run retrain_model, or name a workdir in the form")
    return ExportPlan(render_flags({"workdir": chosen, "model_base_path": settings.model_base}))


def _chosen(form: RetrainForm, defaults: Retraining) -> Retraining:
    """The form's values, or else the Variable's; a capacity there does not undo a precision asked for in the form."""
    by_precision = form.target_precision is not None and form.capacity is None
    return replace(
        defaults,
        source=_source(form.source, defaults),
        backbone_weights=form.backbone_weights or defaults.backbone_weights,
        fine_tune=defaults.fine_tune if form.fine_tune is None else form.fine_tune,
        prevalence=form.prevalence or defaults.prevalence,
        nightly_volume=form.nightly_volume or defaults.nightly_volume,
        capacity=None if by_precision else form.capacity or defaults.capacity,
        target_precision=form.target_precision or defaults.target_precision,
        limits={**defaults.limits, **(form.limits or {})},
    )


def _source(of_form: str | None, defaults: Retraining) -> str:
    source = of_form or defaults.source
    if not source:
        raise SettingsError(
            f"no labelled images: enter a source in the form, or set `source` in the Variable {RETRAINING_VARIABLE}: "
            f'`airflow variables set {RETRAINING_VARIABLE} \'{{"source": "s3://bucket/prefix"}}\'`'
        )
    return source
