"""Plan stage of the training DAGs: from the form and the Variables to the flags of each program.

Pure, but for `settings_of_airflow`. Wrong or contradictory input is a SettingsError that names the way out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import PurePath
from typing import Any

from airflow.sdk import Variable

from sniffer.core.errors import SettingsError
from sniffer.core.flags import render_flags
from sniffer_airflow.names import (
    MODEL_BASE_VARIABLE,
    RETRAINING_VARIABLE,
    TRAINING_DIR_VARIABLE,
    name_of_run,
    workdir_of,
)

LINEAGE_FILE = "lineage.json"
FEATURES_FOLDER = "features"
ENOUGH_NEW_LABELS = 500


@dataclass(frozen=True)
class Retraining:
    """The Variable of that name: what every training run is like unless its form says otherwise."""

    source: str | None = None
    backbone_weights: str | None = None
    fine_tune: bool = False
    prevalence: float | None = None
    nightly_volume: int | None = None
    capacity: int | None = None
    target_precision: float | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    new_labels: int = ENOUGH_NEW_LABELS

    @classmethod
    def parse(cls, text: str) -> Retraining:
        """From the Variable's JSON text, which may be empty; raises SettingsError with the name that is wrong."""
        known = [each.name for each in fields(cls)]
        example = '{"source": "s3://bucket/labels-2026", "nightly_volume": 4000000, "capacity": 3000}'
        try:
            document = json.loads(text or "{}")
        except ValueError as error:
            raise SettingsError(
                f"the Variable {RETRAINING_VARIABLE} is not JSON ({error}); it looks like {example}"
            ) from None
        if not isinstance(document, dict) or not isinstance(document.get("limits", {}), dict):
            raise SettingsError(f"the Variable {RETRAINING_VARIABLE} must be a JSON object such as {example}")
        if unknown := sorted(set(document) - set(known)):
            raise SettingsError(
                f"the Variable {RETRAINING_VARIABLE} has no field {', '.join(unknown)}; it may have {', '.join(known)}"
            )
        return cls(**document)


@dataclass(frozen=True)
class TrainingSettings:
    """The Variables that the training DAGs read: where runs live, where versions are published, and the defaults."""

    training_dir: str
    model_base: str
    retraining: Retraining

    @property
    def lineage(self) -> str:
        """The last snapshot, whose splits the next one keeps."""
        return str(PurePath(self.training_dir, LINEAGE_FILE))

    @property
    def features(self) -> str:
        """The features of all runs' images."""
        return str(PurePath(self.training_dir, FEATURES_FOLDER))


def settings_of_airflow() -> TrainingSettings:
    """Read the Variables; raises SettingsError that says how to set a missing one."""
    return TrainingSettings(
        _needed(TRAINING_DIR_VARIABLE, "/var/lib/sniffer"),
        _needed(MODEL_BASE_VARIABLE, "s3://bucket/drug_detector"),
        Retraining.parse(str(Variable.get(RETRAINING_VARIABLE, default=""))),
    )


def _needed(name: str, example: str) -> str:
    value = str(Variable.get(name, default="")).strip()
    if not value:
        raise SettingsError(f"the Variable {name} is not set: `airflow variables set {name} {example}`")
    return value


def plan_training(dag_run: Any, params: Mapping[str, Any], settings: TrainingSettings) -> dict[str, Any]:
    """Workdir, and the flags of snapshot, train, evaluate and gate, as JSON-ready values."""
    chosen = _chosen(params, settings.retraining)
    workdir = workdir_of(settings.training_dir, name_of_run(dag_run.dag_id, dag_run.run_id))
    at, cache = [f"--workdir={workdir}"], [f"--feature-cache={settings.features}"]
    night = ("prevalence", "nightly_volume", "capacity", "target_precision")
    limits = {**settings.retraining.limits, **(params["limits"] or {})}
    return {
        "workdir": workdir,
        "snapshot": [*at, *render_flags({"source": chosen["source"], "lineage": settings.lineage})],
        "train": [*at, *cache, *render_flags({name: chosen[name] for name in ("backbone_weights", "fine_tune")})],
        "evaluate": [*at, *cache, *render_flags({name: chosen[name] for name in night})],
        "gate": [
            *at,
            *cache,
            *render_flags({"model_base_path": settings.model_base, **limits}),
            *render_flags({name: params[name] for name in ("override_by", "override_reason")}),
        ],
    }


def plan_watch(params: Mapping[str, Any], settings: TrainingSettings) -> dict[str, Any]:
    """What `count_labels` counts, and how many new ones are enough."""
    source = _source(params, settings.retraining)
    enough = params["new_labels"] or settings.retraining.new_labels
    return {"count": render_flags({"source": source, "lineage": settings.lineage}), "enough": enough}


def plan_export(params: Mapping[str, Any], events: list[Mapping[str, Any]], settings: TrainingSettings) -> list[str]:
    """The flags of export for the workdir of the form, else of the newest of the events of BLESSED_MODEL."""
    workdir = params["workdir"] or (events[-1]["workdir"] if events else None)
    if not workdir:
        raise SettingsError("no model was ever blessed: run retrain_model, or name a workdir in the form")
    return render_flags({"workdir": workdir, "model_base_path": settings.model_base})


def _chosen(params: Mapping[str, Any], defaults: Retraining) -> dict[str, Any]:
    """The form's values, else the Variable's. A precision asked for in the form is not undone by a capacity there."""
    names = ("backbone_weights", "prevalence", "nightly_volume", "capacity", "target_precision")
    chosen = {name: getattr(defaults, name) if params[name] in (None, "") else params[name] for name in names}
    if params["target_precision"] is not None and params["capacity"] is None:
        chosen["capacity"] = None
    chosen["fine_tune"] = params["fine_tune"] or defaults.fine_tune
    return chosen | {"source": _source(params, defaults)}


def _source(params: Mapping[str, Any], defaults: Retraining) -> str:
    source: str | None = params["source"] or defaults.source
    if not source:
        raise SettingsError(
            f"no labelled images: name their source in the form, or as `source` in the Variable {RETRAINING_VARIABLE}: "
            f'`airflow variables set {RETRAINING_VARIABLE} \'{{"source": "s3://bucket/prefix"}}\'`'
        )
    return source
