"""A table of labels, CSV or Parquet, on this machine or in S3: which S3 object shows what.

Columns: bucket, key, label; and, where there are some, slice, source and date (ISO 8601). Others are passed over.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import pyarrow as pa
from pyarrow import csv, parquet

from sniffer.adapters.s3.bucket import Bucket, StoredObject
from sniffer.adapters.s3.locations import S3_SCHEME, open_bucket, read_object, split_s3
from sniffer.core.errors import SettingsError, UnreadableImage
from sniffer.core.model_records import LABELS
from sniffer.core.settings import MIB, FetchSettings, image_settings, parse_utc
from sniffer.core.text import one_line
from sniffer_model.data.manifest import LabelledImage

_REQUIRED = ("bucket", "key", "label")
_OPTIONAL = ("slice", "source", "date")
_MAX_TABLE_BYTES = 1024 * MIB

Row = dict[str, str]


def is_table(location: str) -> bool:
    """Whether that location is of a table, by the end of its name."""
    return location.lower().endswith((".csv", ".parquet"))


class TableSource:
    """Images of S3 that a table labels. Their keys are `s3://bucket/key`, so reading them takes no table."""

    def __init__(self, location: str, fetch: FetchSettings) -> None:
        self._fetch = fetch
        self._max_bytes = image_settings().max_bytes
        self._buckets: dict[str, Bucket] = {}
        self._opening = threading.Lock()
        self.location = location if location.startswith(S3_SCHEME) else str(Path(location).resolve())
        self.readers = fetch.threads

    def images(self) -> Sequence[LabelledImage]:
        """The table's rows in its order, those that say the same of the same object once; every bucket is there."""
        rows = _checked_rows(_read_table(self.location, self._fetch), self.location)
        for name in sorted({row["bucket"] for row in rows}):
            self._bucket(name)
        return list(dict.fromkeys(_labelled(row) for row in rows))

    def read(self, key: str) -> bytes:
        """The object's bytes."""
        return self.read_stored(key).data

    def read_stored(self, key: str) -> StoredObject:
        """The object as it is now."""
        name, path = split_s3(key)
        return read_object(self._bucket(name), path)

    def _bucket(self, name: str) -> Bucket:
        with self._opening:
            if name not in self._buckets:
                self._buckets[name] = open_bucket(name, self._fetch, self._max_bytes)
            return self._buckets[name]


def _read_table(location: str, fetch: FetchSettings) -> pa.Table:
    data = pa.BufferReader(_table_bytes(location, fetch))
    try:
        if location.lower().endswith(".parquet"):
            return parquet.read_table(data)
        return csv.read_csv(data, convert_options=_all_text())
    except (pa.ArrowException, OSError) as error:
        raise SettingsError(f"{location} cannot be read as a table ({one_line(error)}): write it again") from error


def _all_text() -> csv.ConvertOptions:
    # Left to guess, the reader would take the key "0012" for a number.
    return csv.ConvertOptions(column_types={name: pa.string() for name in (*_REQUIRED, *_OPTIONAL)})


def _table_bytes(location: str, fetch: FetchSettings) -> bytes:
    try:
        if not location.startswith(S3_SCHEME):
            return Path(location).read_bytes()
        name, key = split_s3(location)
        return read_object(open_bucket(name, fetch, _MAX_TABLE_BYTES), key).data
    except OSError as error:
        raise SettingsError(f"cannot read the table {location}: {error.strerror}") from error
    except UnreadableImage as error:
        raise SettingsError(f"the table {location} is over {_MAX_TABLE_BYTES // MIB} MiB: split it") from error


def _checked_rows(table: pa.Table, location: str) -> list[Row]:
    missing = [name for name in _REQUIRED if name not in table.column_names]
    if missing:
        raise SettingsError(
            f"{location} has no column {', '.join(missing)} (it has {', '.join(table.column_names) or 'none'}): a "
            f"table of labels needs {', '.join(_REQUIRED)}, and may have {', '.join(_OPTIONAL)}"
        )
    twice = sorted({name for name in (*_REQUIRED, *_OPTIONAL) if table.column_names.count(name) > 1})
    if twice:
        raise SettingsError(f"{location} has more than one column {', '.join(twice)}: leave one of each")
    if not table.num_rows:
        raise SettingsError(f"there are no labelled images in {location}: it needs a row for each")
    rows = list(_rows(table))
    for number, row in enumerate(rows, start=1):
        _check_row(row, f"row {number} of {location}")
    return rows


def _rows(table: pa.Table) -> Iterator[Row]:
    names = [name for name in (*_REQUIRED, *_OPTIONAL) if name in table.column_names]
    columns = [[_text(value) for value in _values(table.column(name))] for name in names]
    for values in zip(*columns, strict=True):
        yield dict(zip(names, values, strict=True))


def _values(column: pa.ChunkedArray) -> list[object]:
    if pa.types.is_timestamp(column.type):
        # Python's times have no nanoseconds.
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    values: list[object] = column.to_pylist()
    return values


def _text(value: object) -> str:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, date) else str(value)


def _check_row(row: Row, where: str) -> None:
    for name in _REQUIRED:
        if not row[name]:
            raise SettingsError(f"{where} has no {name}: each row needs {', '.join(_REQUIRED)}")
    if row["label"] not in LABELS:
        raise SettingsError(f"{where}: {row['label']!r} is not a class of this model: use {' or '.join(LABELS)}")
    try:
        parse_utc(row.get("date") or "2000-01-01")
    except ValueError:
        raise SettingsError(f"{where}: {row['date']!r} is no date: write it as 2026-11-20") from None


def _labelled(row: Row) -> LabelledImage:
    optional = {name: row.get(name, "") for name in _OPTIONAL}
    return LabelledImage(f"{S3_SCHEME}{row['bucket']}/{row['key']}", row["label"], **optional)
