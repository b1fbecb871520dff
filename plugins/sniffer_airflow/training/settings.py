"""The Variables that the training DAGs read: where runs live, where versions are published, and the forms' defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from sniffer.core.errors import SettingsError
from sniffer_airflow.forms.fields import text_field, text_rule
from sniffer_airflow.forms.variables import checked_json, checked_text, model_base, read_variable, variable_now
from sniffer_airflow.names import MODEL_BASE_VARIABLE, RETRAINING_VARIABLE, TRAINING_DIR_VARIABLE
from sniffer_airflow.training.fields import variable_fields

LINEAGE_FILE = "lineage.json"
FEATURES_FOLDER = "features"
ENOUGH_NEW_LABELS = 500

_TRAINING_DIR = text_field(
    "Training folder",
    "Workdirs, features and the last snapshot.",
    rule=text_rule("folder, by its absolute path", lambda text: text.startswith("/")),
)
_EXAMPLE = '{"source": "s3://bucket/labels-2026", "nightly_volume": 4000000, "capacity": 3000}'


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
    review_labels: str | None = None

    @classmethod
    def parse(cls, text: str) -> Retraining:
        """From the Variable's JSON text, which may be empty; raises SettingsError with the name that is wrong."""
        values = checked_json(text, RETRAINING_VARIABLE, variable_fields(), _EXAMPLE)
        return cls(
            source=values.text("source"),
            backbone_weights=values.text("backbone_weights"),
            fine_tune=values.switch("fine_tune"),
            prevalence=values.share("prevalence"),
            nightly_volume=values.count("nightly_volume"),
            capacity=values.count("capacity"),
            target_precision=values.share("target_precision"),
            limits=values.limits("limits"),
            new_labels=values.count("new_labels") or ENOUGH_NEW_LABELS,
            review_labels=values.text("review_labels"),
        )


@dataclass(frozen=True)
class TrainingSettings:
    """The Variables, read."""

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
    """Read the Variables; raises SettingsError for a wrong one, and that says how to set a missing one."""
    training_dir = checked_text(read_variable(TRAINING_DIR_VARIABLE), TRAINING_DIR_VARIABLE, _TRAINING_DIR)
    return TrainingSettings(
        _needed(training_dir, TRAINING_DIR_VARIABLE, "/var/lib/sniffer"),
        _needed(model_base(), MODEL_BASE_VARIABLE, "s3://bucket/drug_detector"),
        Retraining.parse(read_variable(RETRAINING_VARIABLE)),
    )


def retraining_of_airflow() -> Retraining:
    """The Variable of that name alone; raises SettingsError for a wrong one."""
    return Retraining.parse(read_variable(RETRAINING_VARIABLE))


def retraining_now() -> Retraining | None:
    """The Variable's defaults for a form's help text; None while it is wrong or unreadable; every run will say so."""
    now = variable_now(RETRAINING_VARIABLE)
    try:
        return None if now is None else Retraining.parse(now)
    except SettingsError:
        return None


def _needed(value: str, name: str, example: str) -> str:
    if not value:
        raise SettingsError(f"the Variable {name} is not set: `airflow variables set {name} {example}`")
    return value
