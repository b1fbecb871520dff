"""Every line by which a certificate warns, or says why it does not hold, is on the page for whoever is on call."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCAN = ROOT / "scripts" / "sniffer" / "scan"
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
CELLS = [re.split(r"(?<!\\)\|", line)[1] for line in PAGE.splitlines() if line.startswith("|")]
PATTERNS = [quoted.split("…") for cell in CELLS for quoted in re.findall(r'"([^"]+)"', cell)]
VALUE = "\0"
MAKERS = ("certificate.py", "comparison.py")
"""Modules whose functions, but for `describe`, make a certificate's problems and warnings."""


def texts(node: ast.AST) -> Iterator[str]:
    """The texts in the code below the node, with VALUE for what is filled in."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else VALUE for part in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    else:
        for child in ast.iter_child_nodes(node):
            yield from texts(child)


def sentences() -> Iterator[str]:
    """What a certificate's problems and warnings are made of, and the errors by which a scan ends early."""
    for path in sorted(SCAN.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            is_maker = isinstance(node, ast.FunctionDef) and "describe" not in node.name and path.name in MAKERS
            if is_maker or (isinstance(node, ast.Raise) and ast.unparse(node).startswith("raise IncompleteScan(")):
                body = node.body if isinstance(node, ast.FunctionDef) else [node]
                found = (text for line in body if not is_docstring(line) for text in texts(line))
                yield from (text for text in found if text.count(" ") > 3)


def is_docstring(line: ast.AST) -> bool:
    """Whether the line is only a text."""
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)


def is_explained(sentence: str) -> bool:
    """Whether a quotation on the page is of that sentence; `…` stands for anything."""
    wanted = (".*?".join(re.escape(part.strip()) for part in parts if part.strip()) for parts in PATTERNS)
    return any(re.search(pattern, sentence, re.DOTALL) for pattern in wanted if pattern)


def test_there_are_sentences_and_quotations() -> None:
    assert len(set(sentences())) > 8
    assert len(PATTERNS) > 15


@pytest.mark.parametrize("sentence", sorted(set(sentences())))
def test_the_page_explains(sentence: str) -> None:
    assert is_explained(sentence)


def test_a_sentence_that_is_nowhere_is_found() -> None:
    assert not is_explained(f"{VALUE} of {VALUE} images are purple, more than the purple budget of {VALUE}")
