"""CSV that people open in a spreadsheet: no cell of it is a formula. Pure.

What begins with = + - @ or a control character may be taken for a formula (OWASP, "CSV Injection"); uploaders choose
keys. A quote before it shows it as text; safe_cell() and plain_cell() are each other's inverse.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")
_QUOTE = "'"


def safe_cell(text: str) -> str:
    """The text as a cell that no spreadsheet calculates; what begins with a quote gets one more."""
    return _QUOTE + text if text.startswith((*_FORMULA, _QUOTE)) else text


def plain_cell(cell: str) -> str:
    """The text of such a cell."""
    return cell[1:] if cell.startswith(_QUOTE) and cell[1:].startswith((*_FORMULA, _QUOTE)) else cell


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[str]], *, is_safe: bool = True) -> str:
    """A table with a header (RFC 4180, lines end in LF); with `is_safe` its cells are no formulas."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([safe_cell(cell) for cell in row] if is_safe else list(row) for row in rows)
    return file.getvalue()


def csv_lines(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The same of rows as they are, one by one, with a line for each; a line may have line feeds within quotes."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for row in rows:
        writer.writerow(row)
        yield file.getvalue()
        file.seek(0)
        file.truncate()
