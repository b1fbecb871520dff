"""Rows of a table, whatever wrote it: text by columns (any usual separator, gzip, UTF-8 or UTF-16), Parquet, Excel.

Bytes in; out come rows of texts by column, each with where it stands, so that a wrong one can be found. Pure.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet
from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook

from sniffer.core.errors import SettingsError
from sniffer.core.settings import MIB
from sniffer.core.text import one_line

MAX_TABLE_BYTES = 1024 * MIB
TABLE_SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet", ".xlsx")
_SEPARATORS = ",\t;|"
_TOLD_SEPARATOR = re.compile(r"sep=([,;|\t])", re.IGNORECASE)
"""A line before the header, for Excel."""
_BATCH_ROWS = 10_000
_TEXTS = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
)
_FIXED_BYTES = 1024
_MAX_LINES = 50_000_000
"""As many rows of 20 bytes as a table may have bytes; of blank lines, a file of some KB unpacks to a billion."""
_SHEET_PART = re.compile(r"/?xl/(worksheets|sheets)/.*\.xml", re.IGNORECASE)
_CELL = re.compile(rb"""\sr\s*=\s*["']([A-Za-z]{0,7})([0-9]{1,12})["']""")
"""Where a cell or a row says that it stands."""
_LONGEST_CELL = 40
_MAX_CELLS = 30_000_000
"""Of the rectangle from the first to the last: a million rows of 30 columns, 1 GB while they are read."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row: where it stands, and its texts by column; or what is wrong with it as a whole."""

    where: str
    values: Mapping[str, str]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Names of columns, trimmed and in lower case, and the rows, which are read as they are asked for."""

    columns: tuple[str, ...]
    rows: Iterator[TableRow]


def is_table_name(name: str) -> bool:
    """Whether a file of that name is a table that can be read."""
    return name.lower().endswith(TABLE_SUFFIXES)


def read_table(data: bytes, name: str, wanted: Collection[str] | None = None) -> Table:
    """The table in those bytes, by the end of its name; SettingsError when it cannot be read as one, also in its rows.

    Of the columns that are not wanted nothing is looked at but their names: a column of pictures is no text.
    """
    lower = name.lower()
    try:
        if lower.endswith(".gz"):
            data, lower = _unzipped(data, name), lower.removesuffix(".gz")
        if lower.endswith(".parquet"):
            return _parquet(data, name, wanted)
        return _excel(data, name, wanted) if lower.endswith(".xlsx") else _text(data, name)
    except (pa.ArrowException, CalamineError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise _not_a_table(name, error) from error


def _not_a_table(name: str, error: object) -> SettingsError:
    return SettingsError(f"{name} cannot be read as a table ({one_line(error)}): write it again")


def _unzipped(data: bytes, name: str) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        found = file.read(MAX_TABLE_BYTES + 1)
    if len(found) > MAX_TABLE_BYTES:
        raise SettingsError(f"the table {name} is over {MAX_TABLE_BYTES // MIB} MiB when unpacked: split it")
    return found


# ---- text ---------------------------------------------------------------------------------------------------


def _text(data: bytes, name: str) -> Table:
    lines = _Lines(data, name)
    first = next(filter(str.strip, lines), "")
    if "\0" in first:
        raise _not_a_table(name, "its header has NUL characters, as UTF-16 and UTF-32 have: save it as UTF-8")
    told = _TOLD_SEPARATOR.fullmatch(first.strip())
    reader = csv.reader(lines, delimiter=told[1] if told else _separator(first), strict=True)
    filled = filter(_is_filled, reader)
    try:
        header = next(filled, [])
        if told:
            header = next(filled, [])
    except csv.Error as error:
        raise _not_a_table(name, error) from error
    if not header:
        raise _not_a_table(name, "it is empty")
    columns = _columns(header)
    return Table(columns, _text_rows(reader, columns, name))


class _Lines:
    """The text's lines, decoded one by one from the first; a byte that is no text is a SettingsError with its line."""

    def __init__(self, data: bytes, name: str) -> None:
        self._name = name
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            # Excel's "Unicode text".
            try:
                data = data.decode("utf-16").encode()
            except UnicodeError as error:
                raise _not_a_table(name, error) from error
        if (lines := data.count(b"\n")) > _MAX_LINES:
            raise SettingsError(f"the table {name} has {lines:,} lines, and may have {_MAX_LINES:,}: split it")
        if b"\n" not in data:
            data = data.replace(b"\r", b"\n")
        self._data = data

    def __iter__(self) -> Iterator[str]:
        encoding = "utf-8-sig"
        for number, line in enumerate(io.BytesIO(self._data), start=1):
            try:
                yield line.decode(encoding)
            except UnicodeDecodeError:
                raise SettingsError(f"line {number} of {self._name} is not UTF-8: save the table as UTF-8") from None
            encoding = "utf-8"


def _separator(header: str) -> str:
    """What parts the first line into most columns; of equals, the more usual one."""
    return max(_SEPARATORS, key=header.count)


def _text_rows(reader: Iterator[list[str]], columns: Sequence[str], name: str) -> Iterator[TableRow]:
    number = _line_number(reader) + 1
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise SettingsError(
                f"line {number} of {name} cannot be read as a table ({one_line(error)}): look for a quote that is "
                "not closed"
            ) from error
        if fields is None:
            return
        where, number = f"line {number}", _line_number(reader) + 1
        if not _is_filled(fields):
            continue
        problem = ""
        if len(fields) != len(columns):
            problem = f"it has {len(fields)} fields, and the header has {len(columns)}"
        yield TableRow(where, dict(zip(columns, fields, strict=False)), problem)


def _is_filled(fields: Sequence[str]) -> bool:
    """Whether the line holds anything but blanks."""
    return any(fields) if len(fields) > 1 else any(map(str.strip, fields))


def _line_number(reader: object) -> int:
    number: int = reader.line_num  # type: ignore[attr-defined] # csv.reader's type has no public name
    return number


def _columns(names: Iterable[object]) -> tuple[str, ...]:
    return tuple(_as_text(name).strip().lower() for name in names)


# ---- Parquet ------------------------------------------------------------------------------------------------


def _parquet(data: bytes, name: str, wanted: Collection[str] | None) -> Table:
    plain = parquet.ParquetFile(pa.BufferReader(data))
    schema, names = plain.schema_arrow, plain.schema_arrow.names
    read = [one for one in names if wanted is None or _columns([one])[0] in wanted]
    if _unpacked_bytes(plain.metadata, read) > MAX_TABLE_BYTES:
        raise SettingsError(f"the table {name} is over {MAX_TABLE_BYTES // MIB} MiB when unpacked: split it")
    for one in read:
        _check_type(schema.field(names.index(one)).type, one, name)
    # Texts as the file has them, each once: a file of some KB may name the same long one a billion times.
    texts = [one for one in read if names.count(one) == 1 and _is_text(schema.field(one).type)]
    file = parquet.ParquetFile(pa.BufferReader(data), read_dictionary=texts)
    return Table(_columns(names), _parquet_rows(file, read, name))


def _check_type(kind: pa.DataType, column: str, name: str) -> None:
    """Refuse what the file may have once and the reader repeats for every row: lists, records, blocks of bytes."""
    if pa.types.is_nested(kind) or (pa.types.is_fixed_size_binary(kind) and kind.byte_width > _FIXED_BYTES):
        raise _not_a_table(name, f"column {column} is of the type {one_line(kind, 60)}: neither text, number nor date")


def _unpacked_bytes(metadata: parquet.FileMetaData, read: Collection[str]) -> int:
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    columns = (group.column(number) for group in groups for number in range(group.num_columns))
    return sum(each.total_uncompressed_size for each in columns if each.path_in_schema.partition(".")[0] in read)


def _is_text(kind: pa.DataType) -> bool:
    return any(is_one(kind) for is_one in _TEXTS)


def _parquet_rows(file: parquet.ParquetFile, read: Sequence[str], name: str) -> Iterator[TableRow]:
    number = 0
    try:
        for batch in file.iter_batches(_BATCH_ROWS, columns=read):
            columns = _columns(batch.schema.names)
            values = [_values(column, one, name) for one, column in zip(columns, batch.columns, strict=True)]
            for row in zip(*values, strict=True):
                number += 1
                yield _typed_row(f"row {number}", columns, row)
    except (pa.ArrowException, OSError) as error:
        raise _not_a_table(name, error) from error


def _values(column: pa.Array, own: str, name: str) -> list[object]:
    """The column's values; SettingsError that names it for what Python has no value of: the year 38,000."""
    try:
        if pa.types.is_dictionary(column.type):
            words = _values(column.dictionary, own, name)
            return [None if index is None else words[index] for index in column.indices.to_pylist()]
        if pa.types.is_timestamp(column.type):
            # Python's times have no nanoseconds.
            column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
        if not _is_text(column.type):
            values: list[object] = column.to_pylist()
            return values
        longest = pc.max(pc.binary_length(column)).as_py() or 0
        if longest > csv.field_size_limit():
            raise ValueError(f"a cell of {longest:,} bytes is no label and no key")
        # What a writer calls text may be none; each row says so for itself.
        return list(column.cast(pa.large_binary()).to_pylist())
    except (OverflowError, ValueError, KeyError) as error:
        raise _not_a_table(name, f"column {own}: {error}") from error


# ---- Excel --------------------------------------------------------------------------------------------------


def _excel(data: bytes, name: str, wanted: Collection[str] | None) -> Table:
    with zipfile.ZipFile(io.BytesIO(data)) as parts:
        if sum(part.file_size for part in parts.infolist()) > MAX_TABLE_BYTES:
            raise SettingsError(f"the table {name} is over {MAX_TABLE_BYTES // MIB} MiB when unpacked: split it")
        for part in parts.namelist():
            if _SHEET_PART.fullmatch(part):
                _check_area(parts, part, name)
    found = CalamineWorkbook.from_filelike(io.BytesIO(data))
    sheets = {sheet: _filled_rows(found.get_sheet_by_name(sheet)) for sheet in found.sheet_names}
    sheets = {sheet: rows for sheet, rows in sheets.items() if rows}
    if not sheets:
        raise _not_a_table(name, "it is empty")
    if len(alike := [sheet for sheet, rows in sheets.items() if set(wanted or ()) & set(_columns(rows[0][1]))]) > 1:
        raise _not_a_table(name, f"the sheets {', '.join(alike)} all have such columns: put the rows on one sheet")
    numbered = sheets[alike[0]] if alike else next(iter(sheets.values()))
    columns = _columns(numbered[0][1])
    return Table(columns, (_typed_row(f"row {number}", columns, row) for number, row in numbered[1:]))


def _check_area(parts: zipfile.ZipFile, part: str, name: str) -> None:
    """Refuse a sheet with a cell far from all others: the reader makes room for every cell between them."""
    rows = columns = 0
    farthest, tail = b"", b""
    with parts.open(part) as file:
        while block := file.read(MIB):
            for found in _CELL.finditer(tail + block):
                row, column = int(found[2]), _column_number(found[1])
                if row > rows or column > columns:
                    rows, columns, farthest = max(rows, row), max(columns, column), found[1] + found[2]
            tail = block[-_LONGEST_CELL:]
    if rows * columns > _MAX_CELLS:
        raise _not_a_table(
            name,
            f"{part} reaches to the cell {farthest.decode()}, {rows:,} rows of {columns:,} columns: "
            "delete the rows and columns beyond the table",
        )


def _column_number(letters: bytes) -> int:
    """1 for A, 27 for AA."""
    number = 0
    for letter in letters.upper():
        number = 26 * number + letter - ord("A") + 1
    return number


def _filled_rows(sheet: CalamineSheet) -> list[tuple[int, list[object]]]:
    """The rows that are not empty, by their numbers."""
    rows = enumerate(sheet.to_python(skip_empty_area=False), start=1)
    return [(number, list(row)) for number, row in rows if any(value != "" for value in row)]


# ---- values -------------------------------------------------------------------------------------------------


def _typed_row(where: str, columns: Sequence[str], values: Sequence[object]) -> TableRow:
    try:
        return TableRow(where, {name: _as_text(value) for name, value in zip(columns, values, strict=True)})
    except UnicodeDecodeError:
        return TableRow(where, {}, "it holds bytes that are not UTF-8")


def _as_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, float) and value.is_integer():
        # Excel has no whole numbers.
        return str(int(value))
    return value.isoformat() if isinstance(value, date) else str(value)
