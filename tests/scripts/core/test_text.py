"""Foreign texts in our lines: what cannot be seen is written as an escape, and no text is longer than it may be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sniffer.core.text import code_span, one_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("images/a b.jpg", "images/a b.jpg"),
        ("Früchte/東京/😀.jpg", "Früchte/東京/😀.jpg"),
        ("a\nverdict    the certificate holds", r"a\nverdict    the certificate holds"),
        ("\x1b[2J\x07\x9b", r"\x1b[2J\x07\x9b"),
        ("a\r\tb", r"a\r\tb"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("a\u200b\u2060\ufeff\u00adb", r"a\u200b\u2060\ufeff\xadb"),
        ("a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d"),
        ("\u2066x\u2069\u200e", r"\u2066x\u2069\u200e"),
        ("\u3164\u2800\ufe0f\u115f\u034f\u00a0", r"\u3164\u2800\ufe0f\u115f\u034f\xa0"),
        ("\U000e0041\U000e0101", r"\U000e0041\U000e0101"),
        ("\ud800", r"\ud800"),
        ("\ue000\U0010ffff", r"\ue000\U0010ffff"),
    ],
)
def test_what_cannot_be_seen_is_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_whatever_comes_can_be_printed_in_one_line(text: str) -> None:
    shown = printable(text)
    assert len((shown + "x").splitlines()) == 1
    assert shown.encode().decode() == shown
    assert printable(shown) == shown


def test_an_error_is_one_line_of_a_bounded_length() -> None:
    assert one_line(ValueError(" several\n  lines \t here ")) == "several lines here"
    assert one_line("a\x1bb" * 10_000_000, 10) == r"a\x1bba\x1"
    assert one_line("") == ""


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("s3://b/k.jpg", "`s3://b/k.jpg`"),
        ("a` [click](http://evil.example) `", "`` a` [click](http://evil.example) ` ``"),
        ("```\n# Approved", r"```` ```\n# Approved ````"),
    ],
)
def test_no_key_breaks_out_of_markdown_code(text: str, span: str) -> None:
    assert code_span(text) == span
