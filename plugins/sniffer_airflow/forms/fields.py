"""Trigger forms: how each kind of field is shown, and what it may hold.

A field's bounds are nested under `allOf`, where Airflow checks them on the server but its form does not see them: the
form would replace a number out of bounds by the nearest one, and cut a long text, without a word. Help texts have no
`code`: Airflow sets it in boxes that cover the lines above and below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from airflow.sdk import Param
from jsonschema import FormatChecker

from sniffer.core.text import markdown_text
from sniffer_airflow.forms.limits import Limits

MORE_OPTIONS = "More options"
ON, OFF = "on", "off"

MOST = 10**12
"""A count above it is a slip of the keyboard."""
TEXT_CHARS = 1024
_MOST_LINES = 100

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
    longest: int = TEXT_CHARS,
    section: str | None = None,
) -> Param:
    """A line of text. Without a default it may be left empty."""
    bounds: dict[str, Json] = {"format": rule, "maxLength": longest}
    return _field(default, "string", title, help_md, section, bounds)


def lines_field(title: str, help_md: str, *, section: str | None = None) -> Param:
    """Several texts, one a line; may be left empty."""
    items: Json = {"type": "string", "maxLength": TEXT_CHARS}
    return _field(None, "array", title, help_md, section, {"maxItems": _MOST_LINES}, items=items)


def time_field(title: str, help_md: str, *, section: str | None = None) -> Param:
    """A point in time, picked from a calendar; may be left empty."""
    return _field(None, "string", title, help_md, section, {}, format="date-time")


def count_field(title: str, help_md: str, *, least: int = 1, most: int = MOST, section: str | None = None) -> Param:
    """A whole number, by default from 1; may be left empty."""
    return _field(None, "integer", title, help_md, section, {"minimum": least, "maximum": most})


def amount_field(title: str, help_md: str, *, section: str | None = None) -> Param:
    """A number, 0 or above; may be left empty."""
    return _field(None, "number", title, help_md, section, {"minimum": 0, "maximum": MOST})


def share_field(
    title: str, help_md: str, *, may_be_one: bool, may_be_zero: bool = False, section: str | None = None
) -> Param:
    """A share above 0 and below 1, or from 0, or up to 1; may be left empty."""
    lower = "minimum" if may_be_zero else "exclusiveMinimum"
    upper = "maximum" if may_be_one else "exclusiveMaximum"
    return _field(None, "number", title, help_md, section, {lower: 0, upper: 1})


def switch_field(title: str, help_md: str, *, section: str | None = None) -> Param:
    """Yes or no; no by default."""
    return _field(False, "boolean", title, help_md, section, {}, optional=True)


def setting_field(title: str, help_md: str, *, decided_by: str, now: bool | None, section: str | None = None) -> Param:
    """On, off, or as something else says (`the Variable x`), which is the default.

    `now` is what that says today, None while it is unknown.

    A switch cannot do: Airflow shows one that was left alone as off, and "off" could not be told from "as always".
    """
    today = "unknown at the moment" if now is None else f"currently {ON if now else OFF}"
    shown = {"null": f"As {decided_by} says ({today})", ON: "On", OFF: "Off"}
    return _field(None, "string", title, help_md, section, {}, enum=[None, ON, OFF], values_display=shown)


def choice_field(title: str, help_md: str, labels: Mapping[str, str], *, section: str | None = None) -> Param:
    """One of several values, each shown by its label; the first by default."""
    first = next(iter(labels))
    return _field(first, "string", title, help_md, section, {}, enum=list(labels), values_display=dict(labels))


def limits_field(title: str, help_md: str, limits: Limits, *, section: str | None = None) -> Param:
    """A JSON object of numbers by name, each within its bounds; may be left empty."""
    names = ", ".join(f"{name} ({bounds.in_words()})" for name, bounds in limits.items())
    schema: dict[str, Json] = {
        "properties": {name: bounds.schema() for name, bounds in limits.items()},
        "additionalProperties": False,
    }
    return _field(None, "object", title, f"{help_md} Names: {names}.", section, schema)


def in_variable(field: Param) -> Param:
    """The field as a Variable's JSON has it, where a setting may be true or false as well, and nothing is required."""
    schema = dict(field.schema)
    if schema.get("enum") == [None, ON, OFF]:
        schema |= {"type": ["null", "string", "boolean"], "enum": [None, True, False, ON, OFF]}
    return Param(None, schema=schema)


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
    """The text as Markdown that shows it as it is, in bold and on one line."""
    return f"**{markdown_text(value, 300)}**"
