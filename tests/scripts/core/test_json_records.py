"""Typed records and their JSON: what is of another form is refused, with the field that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from sniffer.core.errors import ContractError
from sniffer.core.files import read_json, write_json
from sniffer.core.json_records import json_values, parse_record


@dataclass(frozen=True, slots=True)
class Part:
    size: int


@dataclass(frozen=True, slots=True)
class Whole:
    name: str
    parts: tuple[Part, ...]
    counts: Mapping[str, Mapping[str, int]]
    note: str | None = None


WHOLE = Whole("w", (Part(1), Part(2)), {"train": {"drugs": 3}})


def test_a_record_comes_back_from_its_file(tmp_path: Path) -> None:
    write_json(tmp_path / "whole.json", WHOLE)
    assert read_json(tmp_path / "whole.json", Whole, made_by="sniffer make") == WHOLE


def test_fields_with_a_default_may_be_missing() -> None:
    values = {"name": "w", "parts": [], "counts": {}}
    assert parse_record(values, Whole, "w.json", "make it again") == Whole("w", (), {})


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ({"later": 1}, r"\$\.later"),
        ({"parts": [{"size": 1}, {"size": 2, "later": None}]}, r"\$\.parts\[1\]\.later"),
    ],
)
def test_an_unknown_field_is_refused_by_name_unless_it_is_to_be_ignored(
    tmp_path: Path, extra: dict[str, object], field: str
) -> None:
    values = json_values(WHOLE) | extra
    with pytest.raises(ContractError, match=rf"w\.json is of another form \(unknown field `{field}`\): make it again"):
        parse_record(values, Whole, "w.json", "make it again")
    assert parse_record(values, Whole, "w.json", "make it again", ignore_unknown=True) == WHOLE
    write_json(tmp_path / "w.json", values)
    with pytest.raises(ContractError, match="run `sniffer make` again"):
        read_json(tmp_path / "w.json", Whole, made_by="sniffer make")


def test_a_wrong_type_is_refused() -> None:
    with pytest.raises(ContractError, match=r"Expected `int`.*parts\[0\]\.size"):
        parse_record(json_values(WHOLE) | {"parts": [{"size": "1"}]}, Whole, "w.json", "make it again")
