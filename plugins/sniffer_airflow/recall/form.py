"""The form of `measure_recall`, and the Variable with its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from airflow.sdk import Param

from sniffer_airflow.forms.fields import Json, count_field, in_variable
from sniffer_airflow.forms.values import Values, checked
from sniffer_airflow.forms.variables import checked_json
from sniffer_airflow.names import RECALL_DAG, RECALL_VARIABLE, form_of

MOST_LABELS, MOST_NIGHTS = 100_000, 366
_EXAMPLE = '{"labels": 500, "nights": 28}'


@dataclass(frozen=True)
class RecallForm:
    """What was filled in; None is a field that was left empty."""

    labels: int | None = None
    nights: int | None = None

    @classmethod
    def parse(cls, params: Mapping[str, Json]) -> RecallForm:
        """From a DAG run's params; SettingsError names the field that is wrong."""
        return cls._of(checked(params, recall_params(), form_of(RECALL_DAG)))

    @classmethod
    def of_variable(cls, text: str) -> RecallForm:
        """From the Variable's JSON text, which may be empty; SettingsError names what is wrong."""
        fields = {name: in_variable(field) for name, field in recall_params().items()}
        return cls._of(checked_json(text, RECALL_VARIABLE, fields, _EXAMPLE))

    @classmethod
    def _of(cls, values: Values) -> RecallForm:
        return cls(values.count("labels"), values.count("nights"))


def recall_params() -> dict[str, Param]:
    """The form's fields."""
    return {
        "labels": count_field(
            "Images to draw",
            "How many images are drawn for reviewers, of all scans since the last draw together. *If empty:* "
            f"labels in the Variable {RECALL_VARIABLE}, or 250.",
            most=MOST_LABELS,
        ),
        "nights": count_field(
            "Nights that count",
            "How many nights of samples are measured together. The more, the narrower the intervals, and the older "
            f"what they tell of. *If empty:* nights in the Variable {RECALL_VARIABLE}, or 28.",
            most=MOST_NIGHTS,
        ),
    }
