"""The JSON lines by which a program's log reaches Airflow: what is written is what is read, and it is bounded."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sniffer.core.log_entries import LINE_BYTES, LogEntry


def entry(message: str = "slow down", exception: str = "", *, gives_up: bool = False) -> LogEntry:
    return LogEntry(
        "2026-11-05T00:00:00.000Z", "WARNING", "sniffer.scan", message, "scan", "scan-1", exception, gives_up
    )


@given(st.text(st.characters(exclude_categories=()), max_size=400), st.text(max_size=400), st.booleans())
def test_what_is_written_is_what_is_read(message: str, exception: str, gives_up: bool) -> None:
    written = entry(message, exception, gives_up=gives_up)
    line = written.line()
    assert line.isascii() and "\n" not in line
    assert LogEntry.parse(line) == written


@pytest.mark.parametrize("letter", ["x", "ö", "😀", "\0", '"', "\\"])
@pytest.mark.parametrize("sizes", [(100_000, 0), (0, 100_000), (50_000, 50_000), (4_000, 1)])
def test_a_line_fits_into_one_write_to_a_pipe_and_keeps_both_ends(letter: str, sizes: tuple[int, int]) -> None:
    message, exception = (f"first{letter * size}last" for size in sizes)
    line = entry(message, exception).line()
    assert len(line) < LINE_BYTES
    read = LogEntry.parse(line)
    assert read is not None
    assert read.message.startswith("first") and read.message.endswith("last")
    assert read.exception.startswith("first") and read.exception.endswith("last")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "null",
        "[1]",
        "{}",
        '{"level": "ERROR"}',
        json.dumps({"images": 3}),
        "[" * 100_000,
        "{" * 100_000,
        '{"a":' * 50_000,
        entry().line().replace('"slow down"', "7"),
        entry(gives_up=True).line().replace("true", '"yes"'),
        entry().line()[:-1] + ', "more": 1}',
        "2026-11-05T00:00:00Z WARNING scan [scan-1] slow down",
    ],
)
def test_a_line_that_is_something_else_is_none(line: str) -> None:
    assert LogEntry.parse(line) is None
