"""A table of labels, on this machine or in S3: which S3 object shows what.

Columns: bucket, key, label; and, where there are some, slice, source, date (ISO 8601) and content_sha256: the bytes
that the label is about. In a row that says how it came to the reviewers (entered_by), as `sniffer labels publish`
writes it, also probability. Others are passed over.
"""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sniffer.adapters.s3.bucket import Bucket
from sniffer.adapters.s3.fetching import StoredObject
from sniffer.adapters.s3.locations import S3_SCHEME, open_bucket, read_object, split_s3
from sniffer.core.errors import SettingsError
from sniffer.core.model_records import LABELS
from sniffer.core.settings import FetchSettings, image_settings, parse_utc
from sniffer.core.text import one_line
from sniffer_model.data.lost_keys import likely_cause
from sniffer_model.data.manifest import Exclusion, LabelledImage, LabelledSet
from sniffer_model.data.table_files import TableFile, table_files
from sniffer_model.data.table_rows import Table, TableRow, read_table

_REQUIRED = ("bucket", "key", "label")
_OPTIONAL = ("slice", "source", "date", "content_sha256")
_CHANCE = ("entered_by", "probability")
"""A table of somebody else's may have a probability, too, such as a score: it counts beside `entered_by` alone."""
_SHA256 = re.compile("[0-9a-f]{64}")
_BUCKET = re.compile(r"[A-Za-z0-9._:-]+")
"""Covers the names of all stores with an S3 API, and what S3 takes in their place."""
_MISSING = "it has no "
_KEY_BYTES = 1024
_NAME_LENGTH = 200
_NAMED_ROWS = 20
"""How many wrong rows, or objects with two labels, a message names."""


class TableSource:
    """Images of S3 that a table labels. Their keys are `s3://bucket/key`, so reading them takes no table."""

    def __init__(self, location: str, fetch: FetchSettings) -> None:
        self._fetch = fetch
        self._max_bytes = image_settings().max_bytes
        self._buckets: dict[str, Bucket] = {}
        self._opening = threading.Lock()
        self.location = location if location.startswith(S3_SCHEME) else str(Path(location).resolve())
        self.readers = fetch.threads

    def labelled(self) -> LabelledSet:
        """The table's rows in its order, those that say the same of the same object once; every bucket is there."""
        found = _labelled(table_files(self.location, self._fetch), self.location)
        for name in sorted({split_s3(image.key)[0] for image in found.images}):
            self._bucket(name)
        return found

    def read(self, key: str) -> bytes:
        """The object's bytes."""
        return self.read_stored(key).data

    def read_stored(self, key: str) -> StoredObject:
        """The object as it is now."""
        name, path = split_s3(key)
        return read_object(self._bucket(name), path)

    def why_gone(self, keys: Sequence[str]) -> str | None:
        """What the objects that are not there have in common, for people; None when nothing is found."""
        name, _ = split_s3(keys[0])
        paths = [path for bucket, path in map(split_s3, keys) if bucket == name]
        return likely_cause(paths, self._bucket(name))

    def _bucket(self, name: str) -> Bucket:
        with self._opening:
            if name not in self._buckets:
                self._buckets[name] = open_bucket(name, self._fetch, self._max_bytes)
            return self._buckets[name]


def _labelled(files: Iterator[TableFile], location: str) -> LabelledSet:
    """Images by their rows. Raises SettingsError with every wrong row, up to _NAMED_ROWS of them."""
    first_row: dict[LabelledImage, str] = {}
    wrong: list[str] = []
    rows = 0
    for where, row in _located_rows(files, location):
        rows += 1
        if problem := row.problem or _problem(row):
            wrong.append(f"{where}: {problem}")
        else:
            first_row.setdefault(_image(row), where)
    if wrong:
        if location.lower().endswith(".xlsx") and any(_MISSING in each for each in wrong):
            wrong[0] += " (of a formula only the value that was saved with it counts: save the workbook in Excel)"
        more = f"; … and {len(wrong) - _NAMED_ROWS:,} more" if len(wrong) > _NAMED_ROWS else ""
        raise SettingsError(
            f"{len(wrong):,} of {rows:,} rows of {location} are wrong: {'; '.join(wrong[:_NAMED_ROWS])}{more}"
        )
    if not rows:
        raise SettingsError(f"there are no labelled images in {location}: it needs a row for each")
    return _without_contradictions(first_row)


def _located_rows(files: Iterator[TableFile], location: str) -> Iterator[tuple[str, TableRow]]:
    for file in files:
        part = "" if file.name == location else f" of {file.name}"
        table = read_table(file.data, file.name, (*_REQUIRED, *_OPTIONAL, *_CHANCE))
        _check_columns(table, file)
        for row in table.rows:
            yield f"{row.where}{part}", TableRow(row.where, {**file.constants, **row.values}, row.problem)


def _check_columns(table: Table, file: TableFile) -> None:
    columns = (*table.columns, *file.constants)
    missing = [name for name in _REQUIRED if name not in columns]
    if missing:
        there = one_line(", ".join(filter(None, columns))) or "none"
        raise SettingsError(
            f"{file.name} has no column {', '.join(missing)} (it has {there}): a table of labels needs "
            f"{', '.join(_REQUIRED)}, and may have {', '.join(_OPTIONAL)}"
        )
    twice = sorted({name for name in (*_REQUIRED, *_OPTIONAL) if columns.count(name) > 1})
    if twice:
        raise SettingsError(f"{file.name} has more than one column {', '.join(twice)}: leave one of each")


def _problem(row: TableRow) -> str | None:
    values = row.values
    if missing := [name for name in _REQUIRED if not values.get(name)]:
        return f"{_MISSING}{' and no '.join(missing)}"
    if len(values["key"].encode(errors="surrogatepass")) > _KEY_BYTES:
        return f"its key has over {_KEY_BYTES:,} bytes, more than S3 allows: {one_line(values['key'], 60)}"
    for name in ("slice", "source"):
        if len(values.get(name, "")) > _NAME_LENGTH:
            return f"its {name} has over {_NAME_LENGTH} characters: {one_line(values[name], 60)}"
    if not _BUCKET.fullmatch(values["bucket"]):
        return f"{one_line(repr(values['bucket']))} is not a bucket name"
    if values["label"].strip() not in LABELS:
        return f"{one_line(repr(values['label']), 60)} is not a class of this model: use {' or '.join(LABELS)}"
    if (digest := _digest(values)) and not _SHA256.fullmatch(digest):
        return f"{one_line(repr(values['content_sha256']), 80)} is no SHA-256: write 64 hexadecimal digits, or none"
    if _chance(values) is None:
        return f"{one_line(repr(values['probability']), 60)} is no probability: write a number above 0, and at most 1"
    try:
        parse_utc(_date(values) or "2000-01-01")
    except (ValueError, OverflowError):
        return f"{one_line(repr(values['date']), 60)} is no date: write it as 2026-11-20"
    return None


def _image(row: TableRow) -> LabelledImage:
    values = row.values
    optional = {name: values.get(name, "") for name in _OPTIONAL} | {"date": _date(values)}
    optional["content_sha256"] = _digest(values)
    key, chance = f"{S3_SCHEME}{values['bucket']}/{values['key']}", _chance(values)
    return LabelledImage(key, values["label"].strip(), **optional, chance=1.0 if chance is None else chance)


def _date(values: Mapping[str, str]) -> str:
    return values.get("date", "").strip()


def _chance(values: Mapping[str, str]) -> float | None:
    """With which the image came to be labelled: 1 where the row does not say; None where it says what is none."""
    if not (values.get("entered_by", "") and values.get("probability", "")):
        return 1.0
    try:
        chance = float(values["probability"])
    except ValueError:
        return None
    return chance if 0 < chance <= 1 else None


def _digest(values: Mapping[str, str]) -> str:
    return values.get("content_sha256", "").strip().lower()


def _without_contradictions(first_row: dict[LabelledImage, str]) -> LabelledSet:
    """Objects that rows give two labels are left out: nobody knows which is right."""
    rows: dict[str, dict[str, str]] = defaultdict(dict)
    for image, where in first_row.items():
        rows[image.key].setdefault(image.label, where)
    left_out = [
        Exclusion(key, "conflicting_label", f"it has two labels: {_named(labels)}")
        for key, labels in rows.items()
        if len(labels) > 1
    ]
    contradicted = {exclusion.key for exclusion in left_out}
    return LabelledSet(tuple(image for image in first_row if image.key not in contradicted), tuple(left_out))


def _named(labels: dict[str, str]) -> str:
    return ", ".join(f"{label} ({where})" for label, where in labels.items())
