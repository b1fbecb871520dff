"""Tables as people and programs write them: one and the same rows from all of them, and what is wrong by its line."""

from __future__ import annotations

import gzip
import io
import re
import string
import zipfile
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from support.workbook import workbook

from sniffer.core.errors import SettingsError
from sniffer.core.settings import fetch_settings
from sniffer_model.data import table_rows
from sniffer_model.data.label_table import TableSource
from sniffer_model.data.table_rows import read_table

HEADER = ["bucket", "key", "label"]
ROWS = [["b", "up/0012.png", "drugs"], ["b", "up/à b,c.png", "other"], ["b", 'say "x";y|z\t.png', "other"]]


def delimited(separator: str, end: str = "\n") -> str:
    def quoted(field: str) -> str:
        return f'"{field.replace(chr(34), chr(34) * 2)}"' if set(field) & set(f'"{separator}') else field

    return "".join(separator.join(map(quoted, row)) + end for row in [HEADER, *ROWS])


def as_parquet(*columns: pa.Array) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.table(dict(zip(HEADER, columns, strict=True))), file)
    return file.getvalue()


def columns(kind: pa.DataType) -> list[pa.Array]:
    return [
        pa.array([field.encode() if pa.types.is_binary(kind) else field for field in column], kind)
        for column in zip(*ROWS, strict=True)
    ]


TABLES = {
    "comma": ("labels.csv", delimited(",").encode()),
    "semicolon": ("labels.csv", delimited(";").encode()),
    "separator told to Excel": ("labels.csv", ("sep=;\n" + delimited(";")).encode()),
    "pipe": ("labels.csv", delimited("|").encode()),
    "tab": ("labels.tsv", delimited("\t").encode()),
    "tab under another name": ("LABELS.CSV", delimited("\t").encode()),
    "CRLF": ("labels.csv", delimited(",", "\r\n").encode()),
    "CR": ("labels.csv", delimited(",", "\r").encode()),
    "no newline at the end": ("labels.csv", delimited(",").rstrip().encode()),
    "byte order mark": ("labels.csv", delimited(",").encode("utf-8-sig")),
    "byte order mark before quotes": (
        "labels.csv",
        b"\xef\xbb\xbf" + delimited(",").replace("bucket", '"bucket"').encode(),
    ),
    "Unicode text of Excel": ("labels.csv", delimited("\t", "\r\n").encode("utf-16")),
    "big-endian UTF-16": ("labels.csv", b"\xfe\xff" + delimited("\t").encode("utf-16-be")),
    "gzip": ("labels.csv.gz", gzip.compress(delimited(",").encode())),
    "gzip of tabs": ("labels.tsv.gz", gzip.compress(delimited("\t").encode())),
    "parquet": ("labels.parquet", as_parquet(*columns(pa.string()))),
    "parquet with binary columns": ("labels.parquet", as_parquet(*columns(pa.binary()))),
    "parquet with dictionaries": ("labels.parquet", as_parquet(*(c.dictionary_encode() for c in columns(pa.string())))),
    "excel": ("labels.xlsx", workbook([HEADER, *ROWS])),
    "empty lines": ("labels.csv", delimited(",", "\n\n").encode()),
    "an empty line before the header": ("labels.csv", b"\n  \n" + delimited(",").encode()),
    "lines of blanks": ("labels.csv", delimited(",", "\n \t\n").encode()),
    "spaces and capitals in the header": ("labels.csv", delimited(",").replace("bucket,key", " Bucket , KEY").encode()),
}


@pytest.mark.parametrize(("name", "data"), TABLES.values(), ids=TABLES)
def test_every_form_of_a_table_gives_the_same_rows(name: str, data: bytes) -> None:
    table = read_table(data, name)
    assert table.columns == tuple(HEADER)
    rows = list(table.rows)
    assert [[row.values[column] for column in HEADER] for row in rows] == ROWS
    assert not any(row.problem for row in rows)


def places(name: str, data: bytes) -> Sequence[str]:
    return [row.where for row in read_table(data, name).rows]


def test_a_row_is_named_by_the_line_where_it_begins() -> None:
    text = 'bucket,key,label\r\n\r\nb,"two\r\nlines.png",drugs\r\nb,k,other\r\n'
    assert places("labels.csv", text.encode()) == ["line 3", "line 5"]
    assert places("labels.xlsx", workbook([HEADER, [None] * 3, *ROWS])) == ["row 3", "row 4", "row 5"]
    assert places("labels.parquet", as_parquet(*columns(pa.string()))) == ["row 1", "row 2", "row 3"]


def test_a_row_of_another_length_is_a_problem_of_its_own() -> None:
    rows = list(read_table(b"bucket,key,label\nb,k\nb,k,other,more\nb,k,other\n", "labels.csv").rows)
    assert [row.problem for row in rows] == [
        "it has 2 fields, and the header has 3",
        "it has 4 fields, and the header has 3",
        "",
    ]


def test_numbers_and_times_are_written_as_people_write_them() -> None:
    rows = list(read_table(workbook([HEADER, ["b", 12, "drugs"]]), "labels.xlsx").rows)
    assert rows[0].values["key"] == "12"
    when = datetime(2026, 11, 5, 4, 30, tzinfo=UTC)
    data = as_parquet(
        pa.array([when], pa.timestamp("ns", "UTC")), pa.array([date(2026, 1, 2)]), pa.array([None], pa.string())
    )
    (row,) = read_table(data, "labels.parquet").rows
    assert list(row.values.values()) == ["2026-11-05T04:30:00+00:00", "2026-01-02", ""]


def test_binary_keys_that_are_no_text_are_a_problem_of_their_row() -> None:
    data = as_parquet(pa.array(["b", "b"]), pa.array([b"good", b"\xff"], pa.binary()), pa.array(["drugs", "other"]))
    assert [row.problem for row in read_table(data, "labels.parquet").rows] == ["", "it holds bytes that are not UTF-8"]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("labels.csv", b"", "labels.csv cannot be read as a table .it is empty"),
        ("labels.csv", b"\n\n", "labels.csv cannot be read as a table"),
        ("labels.csv", b"bucket,key,label\nb,caf\xe9.png,drugs\n", "line 2 of labels.csv is not UTF-8"),
        ("labels.csv", b'bucket,key,label\nb,k,other\nb,"k,drugs\nb,k,drugs\n', "line 3 of labels.csv .*not closed"),
        ("labels.csv", b"\xff\xfeb", "labels.csv cannot be read as a table"),
        ("labels.csv.gz", b"bucket,key,label\n", "labels.csv.gz cannot be read as a table"),
        (
            "labels.csv.gz",
            gzip.compress(b"bucket,key,label\n" * 999)[:-9],
            "labels.csv.gz cannot be read as a table",
        ),
        ("labels.parquet", b"bucket,key,label\n", "labels.parquet cannot be read as a table"),
        ("labels.parquet", as_parquet(*columns(pa.string()))[:-20], "labels.parquet cannot be read as a table"),
        ("labels.xlsx", b"bucket,key,label\n", "labels.xlsx cannot be read as a table"),
        ("labels.xlsx", workbook([]), "labels.xlsx cannot be read as a table .it is empty"),
        ("labels.xlsx", workbook([HEADER])[:-40], "labels.xlsx cannot be read as a table"),
    ],
    # Packed bytes hold the time: each worker would name its tests otherwise.
    ids=lambda value: "data" if isinstance(value, bytes) else value,
)
def test_what_is_no_table_is_refused_in_one_line(name: str, data: bytes, message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        list(read_table(data, name).rows)
    assert re.search(message, str(refused.value)) and "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["labels.csv.gz", "labels.xlsx"])
def test_a_table_that_unpacks_to_more_than_fits_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_rows, "MAX_TABLE_BYTES", 2 << 20)
    text = delimited(",") + "b,k,drugs\n" * 300_000
    large = (
        gzip.compress(text.encode()) if name.endswith(".gz") else workbook([HEADER, *[["b", "k", "drugs"]] * 30_000])
    )
    with pytest.raises(SettingsError, match="over 2 MiB when unpacked"):
        read_table(large, name)


def with_cell(cell: str) -> bytes:
    """A workbook of two rows, with one more cell somewhere."""
    file = io.BytesIO()
    row = f'<row r="{cell.lstrip(string.ascii_letters)}"><c r="{cell}"><v>1</v></c></row></sheetData>'
    with zipfile.ZipFile(io.BytesIO(workbook([HEADER, ["b", "k", "drugs"]]))) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"</sheetData>", row.encode()))
    return file.getvalue()


def test_a_cell_far_from_all_others_is_refused_and_named() -> None:
    """The reader would ask for 500 GB for what lies between, and be killed."""
    with pytest.raises(SettingsError, match="sheet1.xml reaches to the cell XFD1048576, 1,048,576 rows of 16,384 col"):
        read_table(with_cell("XFD1048576"), "labels.xlsx", HEADER)
    for cell in ("xfd1048576", "D4294967295", "B99999999999"):
        with pytest.raises(SettingsError, match=f"reaches to the cell .*{cell.lstrip(string.ascii_letters)}, "):
            read_table(with_cell(cell), "labels.xlsx", HEADER)
    rows = list(read_table(with_cell("A90000"), "labels.xlsx", HEADER).rows)
    assert [row.where for row in rows] == ["row 2", "row 90000"]


def with_formulas(*, saved: bool) -> bytes:
    """A workbook whose key is a formula, with or without the value that Excel saves beside it."""
    file = io.BytesIO()
    value = "<v>k.jpg</v>" if saved else ""
    cell = f'<c r="B2" t="str"><f>"k"&amp;".jpg"</f>{value}</c>'
    with (
        zipfile.ZipFile(io.BytesIO(workbook([HEADER, ["b", "KEY", "drugs"]]))) as old,
        zipfile.ZipFile(file, "w") as new,
    ):
        for name in old.namelist():
            text = re.sub('<c r="B2".*?</c>', lambda _: cell, old.read(name).decode())
            new.writestr(name, text)
    return file.getvalue()


def test_of_a_formula_the_saved_value_counts_and_without_one_the_row_is_wrong(tmp_path: Path) -> None:
    for saved, expected in ((True, "k.jpg"), (False, "")):
        [row] = read_table(with_formulas(saved=saved), "labels.xlsx", HEADER).rows
        assert row.values == {"bucket": "b", "key": expected, "label": "drugs"}
    (tmp_path / "labels.xlsx").write_bytes(with_formulas(saved=False))
    with pytest.raises(SettingsError, match="row 2: it has no key .of a formula only the value that was saved with it"):
        TableSource(str(tmp_path / "labels.xlsx"), fetch_settings()).labelled()


def repeated(text: str, rows: int) -> bytes:
    """A Parquet file that names one key in all its rows: of some KB, however long the key is."""
    once = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([text]))
    file = io.BytesIO()
    parquet.write_table(pa.table({"bucket": ["b"] * rows, "key": once, "label": ["drugs"] * rows}), file)
    return file.getvalue()


def test_a_parquet_file_that_unpacks_to_gigabytes_is_refused_in_little_memory() -> None:
    bomb = repeated("k" * 1_000_000, 20_000)
    assert len(bomb) < 100_000
    before = pa.total_allocated_bytes()
    with pytest.raises(SettingsError, match="column key: a cell of 1,000,000 bytes is no label and no key"):
        list(read_table(bomb, "labels.parquet", HEADER).rows)
    assert pa.default_memory_pool().max_memory() - before < 1 << 30
    rows = list(read_table(repeated("k.jpg", 20_000), "labels.parquet", HEADER).rows)
    assert len(rows) == 20_000 and rows[-1].values == {"bucket": "b", "key": "k.jpg", "label": "drugs"}


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), pa.large_binary()], ids=str)
def test_a_long_text_that_a_file_has_once_is_kept_once(kind: pa.DataType) -> None:
    """As pandas and Polars write texts, too: large_string."""
    value = pa.scalar("k" * 50_000, pa.string()).cast(pa.binary() if kind == pa.large_binary() else pa.string())
    group = pa.table({"bucket": ["b"] * 200, "key": pa.array([value.as_py()] * 200, kind), "label": ["drugs"] * 200})
    file = io.BytesIO()
    try:
        opened = parquet.ParquetWriter(file, group.schema)
    except pa.ArrowNotImplementedError:
        pytest.skip(f"pyarrow {pa.__version__} writes no {kind}")
    with opened as writer:
        for _ in range(25):
            writer.write_table(group)
    pool, before = pa.proxy_memory_pool(pa.default_memory_pool()), pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        assert sum(1 for _ in read_table(file.getvalue(), "labels.parquet", HEADER).rows) == 5_000
    finally:
        pa.set_memory_pool(before)
    assert 0 < pool.max_memory() < 50 << 20


@pytest.mark.parametrize(
    "column",
    [pa.array([["k"]] * 3), pa.array([{"a": 1}] * 3), pa.array([b"k" * 2000] * 3, pa.binary(2000))],
    ids=["lists", "records", "blocks"],
)
def test_a_wanted_column_of_lists_records_or_blocks_is_refused(column: pa.Array) -> None:
    with pytest.raises(SettingsError, match="labels.parquet .* .column date is of the type .* neither text, number"):
        read_table(odd_parquet(date=column), "labels.parquet", [*HEADER, "date"])


def test_a_table_of_endless_blank_lines_is_refused() -> None:
    with pytest.raises(SettingsError, match="labels.csv.gz has 60,000,001 lines, and may have 50,000,000: split it"):
        read_table(gzip.compress(b"bucket,key,label\n" + b"\n" * 60_000_000, 1), "labels.csv.gz")


SHEET = [HEADER, *ROWS]
NOTES = [["who", "when"], ["ana", "today"]]


@pytest.mark.parametrize("sheets", [{"labels": SHEET, "notes": NOTES}, {"notes": NOTES, "empty": [], "labels": SHEET}])
def test_of_several_sheets_the_one_with_such_columns_is_the_table(sheets: dict[str, list[list[str]]]) -> None:
    table = read_table(workbook(sheets), "labels.xlsx", HEADER)
    assert [[row.values[column] for column in HEADER] for row in table.rows] == ROWS


def test_rows_on_two_sheets_are_not_half_of_them() -> None:
    with pytest.raises(SettingsError, match=r"the sheets 2025, 2026 all have such columns: put the rows on one sheet"):
        read_table(workbook({"2025": SHEET, "notes": NOTES, "2026": SHEET}), "labels.xlsx", HEADER)


ODD_COLUMNS = {
    "pictures": pa.array([b"\xff\xd8", b"\x89PNG", None], pa.binary()),
    "a time in the year 38,506": pa.array([2**60, 1, None], pa.timestamp("us")),
    "a time in no zone": pa.array([1, 2, None], pa.timestamp("ms", "Mars/Base")),
    "a duration of aeons": pa.array([2**62, 1, None], pa.duration("s")),
    "records": pa.array([{"a": 1}, {"a": 2}, None]),
}


def odd_parquet(**odd: pa.Array) -> bytes:
    file = io.BytesIO()
    plain = dict(zip(HEADER, columns(pa.large_string()), strict=True))
    parquet.write_table(pa.table({**plain, **odd}), file)
    return file.getvalue()


def test_columns_that_nobody_wants_may_hold_anything() -> None:
    table = read_table(odd_parquet(**ODD_COLUMNS), "labels.parquet", HEADER)
    assert table.columns == (*HEADER, *ODD_COLUMNS)
    assert [[*row.values.values()] for row in table.rows] == ROWS


@pytest.mark.parametrize("name", ["a time in the year 38,506", "a time in no zone", "a duration of aeons"])
def test_a_wanted_column_that_python_cannot_hold_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match="labels.parquet cannot be read as a table .column date: "):
        list(read_table(odd_parquet(date=ODD_COLUMNS[name]), "labels.parquet", [*HEADER, "date"]).rows)


def test_a_page_that_is_damaged_is_found_while_the_rows_are_read() -> None:
    keys = pa.array([f"{number}.png" for number in range(5000)])
    data = bytearray(as_parquet(pa.array(["b"] * 5000), keys, pa.array(["drugs"] * 5000)))
    data[300:1500] = bytes(1200)
    table = read_table(bytes(data), "labels.parquet")
    with pytest.raises(SettingsError, match="labels.parquet cannot be read as a table"):
        list(table.rows)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32"])
def test_an_encoding_that_nothing_tells_is_named(encoding: str) -> None:
    with pytest.raises(SettingsError, match="its header has NUL characters, as UTF-16 and UTF-32 have"):
        read_table(delimited(",").encode(encoding), "labels.csv")
