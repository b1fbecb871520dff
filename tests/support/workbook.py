"""A small Excel workbook, as its format asks for it: sheets of texts, numbers and empty cells."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from html import escape
from typing import TypeAlias

_TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/>'
    '<Override PartName="/xl/workbook.xml" '
    'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>'
    "{}</Types>"
)
_SHEET_TYPE = (
    '<Override PartName="/xl/worksheets/sheet{}.xml" '
    'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>'
)
_RELATIONS = '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{}</Relationships>'
_RELATION = (
    '<Relationship Id="r{number}" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/{kind}" '
    'Target="{target}"/>'
)
_WORKBOOK = (
    '<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships">'
    "<sheets>{}</sheets></workbook>"
)
_SHEET = (
    '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{}</sheetData></worksheet>'
)


Rows: TypeAlias = Sequence[Sequence[str | int | None]]


def workbook(sheets: Rows | Mapping[str, Rows]) -> bytes:
    """The file's bytes, of sheets by their names or of a single one."""
    named = sheets if isinstance(sheets, Mapping) else {"labels": sheets}
    numbers = range(1, len(named) + 1)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("[Content_Types].xml", _TYPES.format("".join(map(_SHEET_TYPE.format, numbers))))
        root = _RELATION.format(number=1, kind="officeDocument", target="xl/workbook.xml")
        parts.writestr("_rels/.rels", _RELATIONS.format(root))
        listed = (f'<sheet name="{escape(name)}" sheetId="{n}" r:id="r{n}"/>' for n, name in enumerate(named, 1))
        parts.writestr("xl/workbook.xml", _WORKBOOK.format("".join(listed)))
        related = (_RELATION.format(number=n, kind="worksheet", target=f"worksheets/sheet{n}.xml") for n in numbers)
        parts.writestr("xl/_rels/workbook.xml.rels", _RELATIONS.format("".join(related)))
        for number, rows in enumerate(named.values(), 1):
            lines = "".join(map(_row, range(1, len(rows) + 1), rows))
            parts.writestr(f"xl/worksheets/sheet{number}.xml", _SHEET.format(lines))
    return file.getvalue()


def _row(number: int, cells: Sequence[str | int | None]) -> str:
    columns = zip("ABCDEFGH", cells, strict=False)
    return f'<row r="{number}">{"".join(_cell(f"{column}{number}", value) for column, value in columns)}</row>'


def _cell(place: str, value: str | int | None) -> str:
    if value is None:
        return ""
    if isinstance(value, int):
        return f'<c r="{place}"><v>{value}</v></c>'
    return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'
