"""Values from outside against a form's fields: what does not belong there is refused by name, with what does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk import Param

from sniffer.core.errors import SettingsError
from sniffer_airflow.forms.fields import (
    choice_field,
    count_field,
    in_variable,
    limits_field,
    lines_field,
    literally,
    setting_field,
    share_field,
    switch_field,
    text_field,
    time_field,
)
from sniffer_airflow.forms.limits import SHARE, Bounds
from sniffer_airflow.forms.values import Values, checked
from sniffer_airflow.forms.variables import checked_json

LIMITS = {"max_flips": SHARE, "rounds": Bounds(1, 10, whole=True)}
FIELDS: dict[str, Param] = {
    "text": text_field("T", ""),
    "short": text_field("T", "", longest=3),
    "lines": lines_field("T", ""),
    "time": time_field("T", ""),
    "count": count_field("T", "", most=256),
    "any_count": count_field("T", ""),
    "share": share_field("T", "", may_be_one=True),
    "part": share_field("T", "", may_be_one=False),
    "switch": switch_field("T", ""),
    "setting": setting_field("T", "", decided_by="the Variable v", now=None),
    "choice": choice_field("T", "", {"a": "A", "b": "B"}),
    "limits": limits_field("T", "", LIMITS),
}
NAN, INF = float("nan"), float("inf")


def values(**given: Any) -> Values:
    return checked(given, FIELDS, "the form")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("text", 3, "text in the form must be a text of at most 1,024 characters, not 3"),
        ("text", True, "must be a text"),
        ("text", "x" * 1025, "must be a text of at most 1,024 characters"),
        ("text", "a\0b", r"text in the form has a character that no program can be given, in 'a\\x00b'"),
        ("text", "\ud800", r"text in the form has a character that no program can be given, in '\\ud800'"),
        ("short", "four", "must be a text of at most 3 characters, not 'four'"),
        ("lines", "a", "must be a list of at most 100 texts, not 'a'"),
        ("lines", [1], "must be a list of at most 100 texts"),
        ("lines", ["x"] * 101, "must be a list of at most 100 texts"),
        ("lines", ["a", "\0"], "lines in the form has a character that no program can be given"),
        ("time", "yesterday", "must be a time such as 2026-11-05T00:00:00Z, not 'yesterday'"),
        ("time", 5, "must be a time such as"),
        ("count", 0, "count in the form must be a whole number from 1 to 256, not 0"),
        ("count", 257, "must be a whole number from 1 to 256, not 257"),
        ("count", 5.0, "must be a whole number from 1 to 256, not 5.0"),
        ("count", True, "must be a whole number from 1 to 256, not True"),
        ("count", "5", "must be a whole number from 1 to 256, not '5'"),
        ("any_count", 10**30, "must be a whole number from 1 to 1,000,000,000,000, not 1000"),
        ("share", 0, "must be a number above 0 to 1, not 0"),
        ("share", NAN, "must be a number above 0 to 1, not nan"),
        ("share", INF, "must be a number above 0 to 1, not inf"),
        ("share", True, "must be a number above 0 to 1, not True"),
        ("part", 1, "must be a number above 0 and below 1, not 1"),
        ("switch", "yes", "must be true or false, not 'yes'"),
        ("switch", 1, "must be true or false, not 1"),
        ("setting", True, 'must be one of null, "on", "off", not True'),
        ("choice", "c", 'must be one of "a", "b", not \'c\''),
        ("choice", None, 'must be one of "a", "b", not None'),
        ("limits", 3, "limits in the form must be a JSON object of numbers by name, not 3"),
        ("limits", {"max_flips": NAN}, "max_flips of limits in the form must be a number from 0 to 1, not nan"),
        ("limits", {"max_flips": True}, "must be a number from 0 to 1, not True"),
        ("limits", {"max_flips": None}, "must be a number from 0 to 1, not None"),
        ("limits", {"max_flips": "0.5"}, "must be a number from 0 to 1, not '0.5'"),
        ("limits", {"max_flips": 1.01}, "must be a number from 0 to 1, not 1.01"),
        ("limits", {"rounds": 3.0}, "rounds of limits in the form must be a whole number from 1 to 10, not 3.0"),
        ("limits", {"rounds": 10**400}, "must be a whole number from 1 to 10, not 1000"),
        ("limits", {"max_flip": 1}, r"no field max_flip \(did you mean max_flips\?\); it may have max_flips, rounds"),
        ("limits", {"workdir": 1}, "limits in the form has no field workdir; it may have max_flips, rounds"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_what_is_allowed(name: str, value: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        values(**{name: value})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"txt": 1},
            r"the form has no field txt \(did you mean text\?\); it may have text, short, .*Leave out the rest",
        ),
        ({"Text": 1}, r"no field Text \(did you mean text\?\)"),
        ({"zzz": None}, "no field zzz; it may have"),
        ({"a\nb": None}, r"no field a b"),
        ({f"u{number}": 1 for number in range(9)}, "no field u0.*, u4.* and 4 more; it may have"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        checked(given, FIELDS, "the form")


def test_what_airflow_itself_adds_to_a_run_is_not_taken_for_a_field() -> None:
    assert values(openlineage={"parentRunId": "x"}, text="a").text("text") == "a"


def test_what_is_left_empty_is_not_there() -> None:
    for nothing in (values(), values(**{name: None for name in FIELDS if name != "choice"})):
        assert nothing.text("text") is None
        assert nothing.count("count") is None
        assert nothing.share("share") is None
        assert nothing.time("time") is None
        assert nothing.setting("setting") is None
        assert nothing.switch("switch") is False
        assert (nothing.lines("lines"), nothing.limits("limits")) == ((), {})
    assert values(text="  ").text("text") is None


def test_values_are_read_as_what_they_are() -> None:
    given = values(
        text=" a ", lines=[" a", "", "b "], count=5, part=0.5, switch=True, limits={"rounds": 3, "max_flips": 1}
    )
    assert (given.text("text"), given.lines("lines"), given.count("count")) == ("a", ("a", "b"), 5)
    assert (given.share("part"), given.switch("switch")) == (0.5, True)
    assert given.limits("limits") == {"rounds": 3, "max_flips": 1}
    assert [values(setting=word).setting("setting") for word in ("on", "off", None)] == [True, False, None]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[" * 100_000,
        "1" * 5000,
        '"\\',
        "nul",
        "\ufeff{}",
        '{"text": "a", "text": "b"}',
        '{"limits": {"a": 1, "a": 2}}',
    ],
)
def test_a_variable_that_is_no_json_is_an_error_of_ours(text: str) -> None:
    with pytest.raises(SettingsError, match="the Variable sniffer_x is not JSON .*; it looks like EXAMPLE"):
        checked_json(text, "sniffer_x", FIELDS, "EXAMPLE")


def test_a_variable_is_checked_by_the_fields_of_the_form() -> None:
    def parse(document: object) -> Values:
        return checked_json(json.dumps(document), "sniffer_x", fields, "EXAMPLE")

    fields = {name: in_variable(field) for name, field in FIELDS.items()}
    assert [parse({"setting": word}).setting("setting") for word in (True, False, "on", "off", None)] == [
        True,
        False,
        True,
        False,
        None,
    ]
    with pytest.raises(SettingsError, match="share in the Variable sniffer_x must be a number above 0 to 1, not nan"):
        parse({"share": NAN})
    with pytest.raises(SettingsError, match="limits in the Variable sniffer_x has no field target"):
        parse({"limits": {"target": "kubernetes:other"}})
    with pytest.raises(SettingsError, match="the Variable sniffer_x must be a JSON object such as EXAMPLE"):
        parse([1])


def test_the_help_of_limits_shows_each_with_its_bounds() -> None:
    help_md = limits_field("T", "Limits.", {**LIMITS, "images": Bounds(0, 1_000_000, whole=True)}).schema[
        "description_md"
    ]
    assert help_md == "Limits. Names: max_flips (0 to 1), rounds (whole, 1 to 10), images (whole, 0 to 1,000,000)."


def test_a_text_is_shown_as_it_is_whatever_markdown_it_looks_like() -> None:
    assert literally("a_b*c*") == r"**a\_b\*c\***"
    assert literally("a\n\n# b\x1b[31m\u202e") == r"**a \# b\\x1b\[31m\\u202e**"
    assert literally("[x](http://y)") == r"**\[x\]\(http://y\)**"
    assert len(literally("x" * 10_000)) < 400
