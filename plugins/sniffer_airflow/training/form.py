"""The trigger forms of the training DAGs: their fields, as Airflow params, and what was filled in, as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from airflow.sdk import Param

from sniffer.core.errors import SettingsError
from sniffer_airflow.forms.fields import Json, literally
from sniffer_airflow.forms.values import checked
from sniffer_airflow.names import EXPORT_DAG, PUBLISH_DAG, RETRAIN_DAG, RETRAINING_VARIABLE, WATCH_DAG, form_of
from sniffer_airflow.training.fields import export_fields, no_words, publish_fields, retrain_fields, watch_fields
from sniffer_airflow.training.settings import Retraining, retraining_now


@dataclass(frozen=True)
class RetrainForm:
    """The form of `retrain_model` as it was filled in; None is a field that was left empty."""

    source: str | None = None
    capacity: int | None = None
    target_precision: float | None = None
    fine_tune: bool | None = None
    prevalence: float | None = None
    nightly_volume: int | None = None
    backbone_weights: str | None = None
    limits: Mapping[str, float] | None = None
    override_reason: str | None = None

    @classmethod
    def parse(cls, params: Mapping[str, Json]) -> RetrainForm:
        """From a DAG run's params; SettingsError names the field that is wrong."""
        if "override_by" in params:
            raise SettingsError(
                "override_by is no field of the form any more: an override is recorded under the name of the Airflow "
                "user who triggers the run. Leave it out; override_reason alone accepts a rejected model"
            )
        values = checked(params, retrain_fields(no_words, fine_tuned=None), form_of(RETRAIN_DAG))
        return cls(
            source=values.text("source"),
            capacity=values.count("capacity"),
            target_precision=values.share("target_precision"),
            fine_tune=values.setting("fine_tune"),
            prevalence=values.share("prevalence"),
            nightly_volume=values.count("nightly_volume"),
            backbone_weights=values.text("backbone_weights"),
            limits=values.limits("limits"),
            override_reason=values.text("override_reason"),
        )


@dataclass(frozen=True)
class WatchForm:
    """The form of `watch_labels` as it was filled in."""

    source: str | None = None
    new_labels: int | None = None

    @classmethod
    def parse(cls, params: Mapping[str, Json]) -> WatchForm:
        """From a DAG run's params; SettingsError names the field that is wrong."""
        values = checked(params, watch_fields(no_words), form_of(WATCH_DAG))
        return cls(values.text("source"), values.count("new_labels"))


@dataclass(frozen=True)
class PublishForm:
    """The form of `publish_labels` as it was filled in."""

    review_labels: str | None = None

    @classmethod
    def parse(cls, params: Mapping[str, Json]) -> PublishForm:
        """From a DAG run's params; SettingsError names the field that is wrong."""
        return cls(checked(params, publish_fields(no_words), form_of(PUBLISH_DAG)).text("review_labels"))


@dataclass(frozen=True)
class ExportForm:
    """The form of `export_model` as it was filled in."""

    workdir: str | None = None

    @classmethod
    def parse(cls, params: Mapping[str, Json]) -> ExportForm:
        """From a DAG run's params; SettingsError names the field that is wrong."""
        return cls(checked(params, export_fields(), form_of(EXPORT_DAG)).text("workdir"))


def retrain_params() -> dict[str, Param]:
    """The form's fields. Every default validates; what is left empty is as the Variable says."""
    variable = retraining_now()
    return retrain_fields(_Defaults(variable).text, fine_tuned=None if variable is None else variable.fine_tune)


def watch_params() -> dict[str, Param]:
    """The fields of `watch_labels`."""
    return watch_fields(_Defaults(retraining_now()).text)


def publish_params() -> dict[str, Param]:
    """The fields of `publish_labels`."""
    return publish_fields(_Defaults(retraining_now()).text)


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
