"""Airflow's Variables: their texts, for plans and for help texts. What they hold is checked by a form's fields."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping

from airflow.sdk import Param, Variable, get_parsing_context

from sniffer.core.errors import SettingsError
from sniffer.core.text import one_line
from sniffer_airflow.forms.fields import Json, text_field, text_rule
from sniffer_airflow.forms.values import Values, check_value, checked
from sniffer_airflow.names import MODEL_BASE_VARIABLE

log = logging.getLogger(__name__)

_MODEL_BASE = text_field(
    "Model base",
    "Where versions are published.",
    rule=text_rule(
        "folder, by its absolute path, or s3://bucket/prefix",
        lambda text: re.fullmatch(r"/.*|s3://[A-Za-z0-9][\w.-]*(/.*)?", text) is not None,
    ),
)


def in_words(name: str) -> str:
    """The Variable, as messages name it."""
    return f"the Variable {name}"


def variable_now(name: str) -> str | None:
    """The Variable's value for a form's help text; empty when it is not set, and in a task, which shows no form.

    None while it cannot be read: a help text that is unknown must not take the whole DAG away.
    """
    if get_parsing_context().task_id is not None:
        return ""
    try:
        return read_variable(name)
    except Exception as error:  # noqa: BLE001 - a secrets backend raises whatever its client does
        # Its text is left out: it is another system's, and may hold a secret.
        log.warning("the Variable %s cannot be read for a form's help text: %s", name, type(error).__name__)
        return None


def variables_now(*names: str) -> tuple[str | None, ...]:
    """As `variable_now` for each of them; after one that cannot be read the others are not tried.

    A secrets backend that hangs is waited for once: Airflow ends the parsing of a file that takes long, without its
    DAG.
    """
    found: list[str | None] = []
    for name in names:
        found.append(None if None in found else variable_now(name))
    return tuple(found)


def read_variable(name: str) -> str:
    """The Variable's value without surrounding white space; empty when it is not set."""
    return str(Variable.get(name, default="")).strip()


def model_base() -> str:
    """Where versions are published; empty when it is not set. SettingsError unless it is such a place."""
    return checked_text(read_variable(MODEL_BASE_VARIABLE), MODEL_BASE_VARIABLE, _MODEL_BASE)


def checked_text(text: str, name: str, field: Param) -> str:
    """The Variable's text, which may be empty; SettingsError names the Variable unless that field takes it."""
    if text:
        check_value(text, field, in_words(name))
    return text


def _named_once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """The object of these names; ValueError for a name that is there twice, of which JSON would take the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{one_line(twice, 60)} is there more than once")
    return found


def checked_json(text: str, name: str, fields: Mapping[str, Param], example: str) -> Values:
    """The Variable's JSON object of these fields; an empty text is an empty object.

    Raises SettingsError that names the Variable for another form, an unknown field or a value that a field cannot be.
    """
    try:
        document: Json = json.loads(text or "{}", object_pairs_hook=_named_once)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{in_words(name)} is not JSON ({error}); it looks like {example}") from None
    if not isinstance(document, Mapping):
        raise SettingsError(f"{in_words(name)} must be a JSON object such as {example}")
    return checked(document, fields, in_words(name))
