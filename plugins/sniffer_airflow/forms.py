"""Trigger forms: how each kind of field is shown and checked, and how a form's values become typed.

A field's bounds are nested under `allOf`, where Airflow checks them on the server but its form does not see them: the
form would replace a number out of bounds by the nearest one, and cut a long text, without a word. Help texts have no
`code`: Airflow sets it in boxes that cover the lines above and below.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from airflow.sdk import Param, Variable, get_parsing_context
from jsonschema import FormatChecker

from sniffer.core.errors import SettingsError
from sniffer.core.settings import parse_utc

MORE_OPTIONS = "More options"

log = logging.getLogger(__name__)

_MARKDOWN = re.compile(r"[^\w\s/:.,-]")

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


def text_rule(words: str, holds: Callable[[str], bool]) -> str:
    """A rule for text fields, for `text_field`. Airflow refuses other text with "... is not a '`words`'"."""
    FormatChecker.checkers[words] = (lambda value: not isinstance(value, str) or holds(value), ())
    return words


def text_field(
    title: str,
    help_md: str,
    *,
    default: str | None = None,
    rule: str | None = None,
    longest: int | None = None,
    section: str | None = None,
) -> Param:
    """A line of text. Without a default it may be left empty."""
    bounds: dict[str, Json] = {"format": rule, "maxLength": longest}
    return _field(default, "string", title, help_md, section, bounds)


def lines_field(title: str, help_md: str, *, section: str | None = None) -> Param:
    """Several texts, one a line; may be left empty."""
    return _field(None, "array", title, help_md, section, {}, items={"type": "string"})


def time_field(title: str, help_md: str, *, section: str | None = None) -> Param:
    """A point in time, picked from a calendar; may be left empty."""
    return _field(None, "string", title, help_md, section, {}, format="date-time")


def count_field(title: str, help_md: str, *, most: int | None = None, section: str | None = None) -> Param:
    """A whole number from 1; may be left empty."""
    return _field(None, "integer", title, help_md, section, {"minimum": 1, "maximum": most})


def share_field(title: str, help_md: str, *, may_be_one: bool, section: str | None = None) -> Param:
    """A share above 0 and below 1, or up to 1; may be left empty."""
    upper = "maximum" if may_be_one else "exclusiveMaximum"
    return _field(None, "number", title, help_md, section, {"exclusiveMinimum": 0, upper: 1})


def switch_field(title: str, help_md: str, *, section: str | None = None) -> Param:
    """Yes or no; no by default."""
    return _field(False, "boolean", title, help_md, section, {}, optional=True)


def choice_field(title: str, help_md: str, labels: Mapping[str, str], *, section: str | None = None) -> Param:
    """One of several values, each shown by its label; the first by default."""
    first = next(iter(labels))
    return _field(first, "string", title, help_md, section, {}, enum=list(labels), values_display=dict(labels))


def limits_field(title: str, help_md: str, names: tuple[str, ...], *, section: str | None = None) -> Param:
    """A JSON object of numbers from 0 by name; may be left empty."""
    help_md = f"{help_md} Names: {', '.join(names)}."
    bounds: dict[str, Json] = {
        "properties": {name: {"type": "number", "minimum": 0} for name in names},
        "additionalProperties": False,
    }
    return _field(None, "object", title, help_md, section, bounds)


def _field(
    default: Json,
    kind: str,
    title: str,
    help_md: str,
    section: str | None,
    bounds: Mapping[str, Json],
    *,
    optional: bool = False,
    **schema: Json,
) -> Param:
    # The form stars a field as required unless its type allows null, and submits null where it was left empty.
    given: dict[str, Any] = {
        "type": ["null", kind] if optional or default is None else kind,
        "title": title,
        "description_md": help_md,
        "section": section,
        **schema,
    }
    if checked := {name: bound for name, bound in bounds.items() if bound is not None}:
        given["allOf"] = [checked]
    return Param(default, **{name: value for name, value in given.items() if value is not None})


def literally(value: str) -> str:
    """The text as Markdown that shows it as it is, in bold."""
    escaped = _MARKDOWN.sub(r"\\\g<0>", value)
    return f"**{escaped}**"


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


def read_variable(name: str) -> str:
    """The Variable's value without surrounding white space; empty when it is not set."""
    return str(Variable.get(name, default="")).strip()


def json_object(text: str, place: str, known: Sequence[str], example: str) -> Mapping[str, Json]:
    """The JSON object of that text, which may be empty; raises SettingsError for another form or an unknown name."""
    try:
        document = json.loads(text or "{}")
    except ValueError as error:
        raise SettingsError(f"{place} is not JSON ({error}); it looks like {example}") from None
    if not isinstance(document, dict):
        raise SettingsError(f"{place} must be a JSON object such as {example}")
    if unknown := sorted(set(document) - set(known)):
        raise SettingsError(f"{place} has no field {', '.join(unknown)}; it may have {', '.join(known)}")
    return document


class Values:
    """Values by name as a person gave them, each read as what it must be. A missing one counts as left empty."""

    def __init__(self, values: Mapping[str, Json], place: str = "the form") -> None:
        self._values = values
        self._place = place

    def text(self, name: str) -> str | None:
        """Text without surrounding white space; None when it was left empty."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, str):
            raise self._wrong(name, "text")
        return (value or "").strip() or None

    def count(self, name: str) -> int | None:
        """A whole number from 1."""
        value = self._values.get(name)
        if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
            return value
        raise self._wrong(name, "a whole number from 1")

    def share(self, name: str) -> float | None:
        """A share above 0, at most 1."""
        value = self._values.get(name)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1):
            return value
        raise self._wrong(name, "a share above 0 and at most 1")

    def switch(self, name: str) -> bool:
        """Yes or no."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return bool(value)

    def time(self, name: str) -> datetime | None:
        """A time in UTC; without an offset it is taken as UTC."""
        text = self.text(name)
        try:
            return None if text is None else parse_utc(text)
        except ValueError:
            raise self._wrong(name, "a time such as 2026-11-05T00:00:00Z") from None

    def lines(self, name: str) -> tuple[str, ...]:
        """Several texts without surrounding white space; empty ones do not count."""
        value = self._values.get(name)
        if value is None:
            return ()
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise self._wrong(name, "a list of texts")
        texts = tuple(each.strip() for each in value if isinstance(each, str))
        if len(texts) < len(value):
            raise self._wrong(name, "a list of texts")
        return tuple(text for text in texts if text)

    def limits(self, name: str) -> dict[str, float]:
        """Numbers by name."""
        value = self._values.get(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self._wrong(name, "a JSON object of numbers")
        numbers = {key: one for key, one in value.items() if isinstance(one, int | float) and not isinstance(one, bool)}
        if len(numbers) < len(value):
            raise self._wrong(name, "a JSON object of numbers")
        return numbers

    def _wrong(self, name: str, kind: str) -> SettingsError:
        return SettingsError(f"{name} in {self._place} must be {kind}, not {self._values[name]!r}")
