"""What came from outside (a run's conf, a Variable's JSON, an event) against the fields of a form.

In: values by name, and the fields that there may be. Out: the values, each of its field's type and within its bounds.
Airflow checks a run's values by the same fields, but lets unknown names, NaN and 5.0 for 5 through, and a Variable's
value is checked by nobody else.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from airflow.sdk import Param
from jsonschema import Draft202012Validator, FormatChecker

from sniffer.core.errors import SettingsError
from sniffer.core.settings import parse_utc
from sniffer.core.text import one_line
from sniffer_airflow.forms.fields import OFF, ON, Json

_ADDED_BY_AIRFLOW = frozenset({"openlineage"})
"""Names in a run's conf that no person wrote: TriggerDagRunOperator adds them where OpenLineage is installed."""

_MOST_NAMED = 5
_TIME = "a time such as 2026-11-05T00:00:00Z"


class Values:
    """Values by name that `checked` has let pass. A missing one counts as left empty."""

    def __init__(self, values: Mapping[str, Json], place: str) -> None:
        self._values = values
        self._place = place

    def text(self, name: str) -> str | None:
        """Text without surrounding white space; None when it was left empty."""
        value = self._values.get(name)
        return (value.strip() or None) if isinstance(value, str) else None

    def count(self, name: str) -> int | None:
        """A whole number."""
        value = self._values.get(name)
        return value if isinstance(value, int) else None

    def share(self, name: str) -> float | None:
        """A share of something."""
        value = self._values.get(name)
        return value if isinstance(value, int | float) else None

    def amount(self, name: str) -> float | None:
        """A number of something."""
        return self.share(name)

    def switch(self, name: str) -> bool:
        """Yes or no; no when it was left empty."""
        return bool(self.setting(name))

    def setting(self, name: str) -> bool | None:
        """On or off; None when it was left to whoever else says it."""
        value = self._values.get(name)
        return {ON: True, OFF: False}.get(value) if isinstance(value, str) else None if value is None else bool(value)

    def time(self, name: str) -> datetime | None:
        """A time in UTC; without an offset it is taken as UTC."""
        text = self.text(name)
        try:
            return None if text is None else parse_utc(text)
        except (ValueError, OverflowError):
            raise _wrong(f"{name} in {self._place}", _TIME, text) from None

    def lines(self, name: str) -> tuple[str, ...]:
        """Several texts without surrounding white space; empty ones do not count."""
        value = self._values.get(name)
        texts = value if isinstance(value, Sequence) and not isinstance(value, str) else ()
        return tuple(text.strip() for text in texts if isinstance(text, str) and text.strip())

    def limits(self, name: str) -> dict[str, float]:
        """Numbers by name."""
        value = self._values.get(name)
        numbers = value if isinstance(value, Mapping) else {}
        return {key: one for key, one in numbers.items() if isinstance(one, int | float)}


def checked(given: Mapping[str, Json], fields: Mapping[str, Param], place: str) -> Values:
    """The values, if each has a field and is what it may be; otherwise SettingsError names it, and what may be there.

    `place` says where they come from, in words: `the form of scan_bucket`, `the Variable sniffer_scan`.
    """
    _refuse_unknown((name for name in given if name not in _ADDED_BY_AIRFLOW), fields, place)
    for name, field in fields.items():
        if name in given:
            check_value(given[name], field, f"{name} in {place}")
    return Values(given, place)


def check_value(value: Json, field: Param, where: str) -> None:
    """Raise SettingsError that says what belongs `where`, unless the value may be in that field."""
    schema = _with_bounds(field.schema)
    if isinstance(value, Mapping) and "properties" in schema:
        limits = schema["properties"]
        _refuse_unknown(value, limits, where)
        for name, one in value.items():
            _require(one, limits[name], f"{name} of {where}")
    else:
        _require(value, schema, where)


def _require(value: Json, schema: Mapping[str, Any], where: str) -> None:
    if not _may_be(value, schema):
        raise _wrong(where, _in_words(schema), value)
    texts = (value,) if isinstance(value, str) else value if isinstance(value, Sequence) else ()
    for text in texts:
        if isinstance(text, str) and not _can_be_handed_on(text):
            raise SettingsError(f"{where} has a character that no program can be given, in {one_line(repr(text), 100)}")


def _refuse_unknown(names: Iterable[str], known: Iterable[str], place: str) -> None:
    fields = [*known]
    if unknown := sorted(set(names) - set(fields)):
        more = f" and {len(unknown) - _MOST_NAMED} more" if len(unknown) > _MOST_NAMED else ""
        shown = ", ".join(f"{one_line(name, 60)}{_nearest(name, fields)}" for name in unknown[:_MOST_NAMED])
        raise SettingsError(f"{place} has no field {shown}{more}; it may have {', '.join(fields)}. Leave out the rest")


def _nearest(name: str, known: Sequence[str]) -> str:
    similar = difflib.get_close_matches(name[:100].lower(), known, n=1, cutoff=0.5)
    return f" (did you mean {similar[0]}?)" if similar else ""


def _with_bounds(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with its bounds beside its type, where a reader looks for them; see fields.py."""
    return {**schema, **{name: bound for part in schema.get("allOf", ()) for name, bound in part.items()}}


def _may_be(value: Json, schema: Mapping[str, Any]) -> bool:
    if isinstance(value, float) and not (math.isfinite(value) and "number" in _kinds(schema)):
        return False  # NaN keeps to all bounds, and 5.0 is an integer, by JSON schema
    return bool(Draft202012Validator(schema, format_checker=FormatChecker()).is_valid(value))


def _kinds(schema: Mapping[str, Any]) -> list[str]:
    kinds = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else kinds


def _can_be_handed_on(text: str) -> bool:
    """Whether the text can be a word of a command line: no NUL, nothing that UTF-8 cannot hold."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _in_words(schema: Mapping[str, Any]) -> str:
    """What the schema allows."""
    if "enum" in schema:
        return f"one of {', '.join(json.dumps(each) for each in schema['enum'])}"
    match next(kind for kind in _kinds(schema) if kind != "null"):
        case "integer":
            return f"a whole number{_range(schema)}"
        case "number":
            return f"a number{_range(schema)}"
        case "boolean":
            return "true or false"
        case "array":
            return f"a list of at most {schema['maxItems']} texts"
        case "object":
            return "a JSON object of numbers by name"
        case _ if schema.get("format") == "date-time":
            return _TIME
        case _:
            most = f" of at most {schema['maxLength']:,} characters" if "maxLength" in schema else ""
            return f"a {schema['format']}{most}" if "format" in schema else f"a text{most}"


def _range(schema: Mapping[str, Any]) -> str:
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "and below"}
    return "".join(f" {word} {schema[bound]:,.16g}" for bound, word in words.items() if bound in schema)


def _wrong(where: str, what: str, value: Json) -> SettingsError:
    return SettingsError(f"{where} must be {what}, not {one_line(repr(value), 100)}")
