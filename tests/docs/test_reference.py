"""The reference pages say what the code says, and the table of error codes has every code that the code uses."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from sniffer.core.outcomes import CODES, OUTCOMES
from sniffer.core.records import Outcome
from sniffer_local import reference

ROOT = Path(__file__).resolve().parents[2]
RAISERS = {"UnreadableImage": 0, "Unscored": 1, "_failed": 0}
"""Calls that give an image an error code, and the place of the code among their arguments."""


def test_no_reference_page_is_stale() -> None:
    assert reference.stale_pages() == [], "run `make docs`"


def test_a_stale_page_is_named_and_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reference, "DOCS", tmp_path)
    (tmp_path / "tables.md").write_text("yesterday's\n")
    assert reference.main(["--check"]) == 1
    assert "docs/tables.md is stale" in capsys.readouterr().out
    assert (tmp_path / "tables.md").read_text() == "yesterday's\n"
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    assert (tmp_path / "tables.md").read_text() == reference.tables_page()


def test_every_error_code_in_the_code_is_explained_and_no_other() -> None:
    assert set(_codes_in_use()) == set(CODES)


def test_every_outcome_is_explained() -> None:
    assert list(OUTCOMES) == list(Outcome)


def _codes_in_use() -> Iterator[str]:
    for path in (ROOT / "scripts").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (place := RAISERS.get(_name(node.func))) is not None:
                yield from _texts(node.args[place])
            if isinstance(node, ast.ClassDef) and node.name.endswith("Code"):
                for line in node.body:
                    yield from _texts(line.value) if isinstance(line, ast.Assign) else ()


def _name(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _texts(argument: ast.expr) -> Iterator[str]:
    """Of a literal, or of both branches of `"a" if … else "b"`."""
    branches = (argument.body, argument.orelse) if isinstance(argument, ast.IfExp) else (argument,)
    for branch in branches:
        if isinstance(branch, ast.Constant) and isinstance(branch.value, str):
            yield branch.value
