"""The files of an S3 Inventory: batches of keys out of gzipped CSV, and out of Parquet."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload
from urllib.parse import unquote_to_bytes

from sniffer.core.errors import SettingsError
from sniffer.core.key_ranges import LONGEST_BYTES
from sniffer.core.text import one_line

_LONGEST_LINE = 1 << 16
"""Far above any row of S3's: a key of 1,024 bytes is 3,072 characters there."""
_BATCH = 10_000


class BrokenRows(Exception):
    """A file of an inventory is none; the text goes on from its name."""


@dataclass(frozen=True, slots=True)
class CsvColumns:
    """Where a row has what, from 0; None: it has it not."""

    bucket: int
    key: int
    is_latest: int | None
    is_delete_marker: int | None
    count: int


def csv_keys(path: Path, columns: CsvColumns, bucket: str, prefix: str) -> Iterator[Sequence[bytes]]:
    """Batches of keys with the prefix out of a gzipped CSV file, which writes them as in a URL.

    Versions that are not current are left out. Raises BrokenRows.
    """
    start = prefix.encode(errors="surrogateescape")
    batch: list[bytes] = []
    try:
        with gzip.open(path) as file:
            for row in csv.reader(_lines(file), strict=True):
                if len(row) != columns.count:
                    raise BrokenRows(f"has a row of {len(row)} columns, its schema has {columns.count}")
                if row[columns.bucket] != bucket:
                    raise BrokenRows(f"has a key of bucket {one_line(row[columns.bucket], 70)!r}, not {bucket!r}")
                if columns.is_latest is not None and row[columns.is_latest] == "false":
                    continue
                if columns.is_delete_marker is not None and row[columns.is_delete_marker] == "true":
                    continue
                if (key := _checked(_decoded(row[columns.key]))).startswith(start):
                    batch.append(key)
                if len(batch) == _BATCH:
                    yield batch
                    batch = []
    except (OSError, EOFError, zlib.error, csv.Error, UnicodeDecodeError) as error:
        raise BrokenRows(f"is no gzipped CSV ({one_line(error)})") from error
    if batch:
        yield batch


def _lines(file: gzip.GzipFile) -> Iterator[str]:
    # Not the file's own iterator: a line of gigabytes would be read whole.
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise BrokenRows(f"has a line of more than {_LONGEST_LINE} bytes")
        yield line.decode()


def _decoded(text: str) -> bytes:
    return text.encode() if "%" not in text and "+" not in text else unquote_to_bytes(text.replace("+", " "))


def _checked(key: bytes) -> bytes:
    if not 0 < len(key) <= LONGEST_BYTES:
        raise BrokenRows(f"has a key of {len(key)} bytes, which no object of S3 can have")
    return key


@dataclass(frozen=True, slots=True)
class _Column(Sequence[bytes]):
    """Keys in Arrow's memory, of which only those that are asked for become Python's."""

    values: Any

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[bytes]: ...
    def __getitem__(self, at: int | slice) -> bytes | Sequence[bytes]:
        return _Column(self.values[at]) if isinstance(at, slice) else self.values[at].as_py()


def parquet_keys(path: Path, bucket: str, prefix: str) -> Iterator[Sequence[bytes]]:
    """Batches of keys with the prefix out of a Parquet file, which has them as they are.

    Versions that are not current are left out. Raises BrokenRows, and SettingsError without pyarrow.
    """
    try:
        # Only this needs it; where scans run it may not be installed.
        import pyarrow as pa
        from pyarrow import compute, parquet
    except ImportError as error:
        raise SettingsError(
            "an inventory in Parquet is read by pyarrow, which is not installed here: pip install pyarrow, "
            "or configure S3 Inventory to write CSV"
        ) from error
    try:
        with parquet.ParquetFile(path, pre_buffer=False) as file:
            names = set(file.schema_arrow.names)
            if not {"bucket", "key"} <= names:
                raise BrokenRows("has no column `bucket`, or none `key`")
            wanted = [name for name in ("bucket", "key", "is_latest", "is_delete_marker") if name in names]
            for batch in file.iter_batches(batch_size=_BATCH, columns=wanted, use_threads=False):
                table = pa.Table.from_batches([batch])
                other = table.filter(compute.not_equal(table["bucket"].cast(pa.binary()), bucket.encode()))
                if other.num_rows or table["bucket"].null_count or table["key"].null_count:
                    raise BrokenRows(f"has a key of another bucket than {bucket!r}, or none in a row")
                keys = table["key"].cast(pa.binary())
                lengths = compute.min_max(compute.binary_length(keys)).as_py()
                if not 0 < lengths["min"] <= lengths["max"] <= LONGEST_BYTES:
                    raise BrokenRows(f"has a key of no bytes or of {lengths['max']}, which no object of S3 can have")
                kept = compute.starts_with(keys, prefix.encode(errors="surrogateescape"))
                for name, is_current in (("is_latest", True), ("is_delete_marker", False)):
                    if name in names:
                        kept = compute.and_(kept, compute.equal(compute.fill_null(table[name], is_current), is_current))
                yield _Column(keys.filter(kept).combine_chunks())
    except (pa.ArrowException, OSError, TypeError) as error:
        raise BrokenRows(f"is no Parquet file as S3 writes them ({one_line(error)})") from error
