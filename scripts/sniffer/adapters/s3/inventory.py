"""S3 Inventory: reads a report by its `manifest.json`, file by file, in constant memory.

Its format: https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from sniffer.adapters.s3.bucket import Bucket
from sniffer.adapters.s3.errors import InaccessibleCode, NotFetched
from sniffer.adapters.s3.inventory_rows import BrokenRows, CsvColumns, csv_keys, parquet_keys
from sniffer.adapters.s3.locations import S3_SCHEME, bucket_of, split_s3
from sniffer.core.errors import SettingsError, TransientError
from sniffer.core.records import Outcome
from sniffer.core.settings import FetchSettings
from sniffer.core.temporary import temporary_folder
from sniffer.core.text import one_line

MANIFEST, CHECKSUM = "manifest.json", "manifest.checksum"
MOST_MANIFEST_BYTES = 16 << 20
"""80,000 files of AWS's, which have millions of keys each."""
_MOST_CHECKSUM_BYTES = 1024
_MOST_FILE_BYTES = 8 << 30
_MD5 = re.compile(r"[0-9a-fA-F]{32}")
_DATED = re.compile(rf"\d{{4}}-\d{{2}}-\d{{2}}T\d{{2}}-\d{{2}}Z/{re.escape(CHECKSUM)}")
_LOOK_BACK = (timedelta(days=30), timedelta(days=400), None)
"""A page has the reports of so long, two keys to each, daily ones or weekly; None: the first page of all."""
_OTHERWISE = "take another report, or leave out --inventory"


class _File(msgspec.Struct):
    key: str
    size: int
    md5: str = msgspec.field(name="MD5checksum")


class _Manifest(msgspec.Struct, rename="camel"):
    source_bucket: str
    file_format: str
    creation_timestamp: str
    file_schema: str
    files: list[_File]


@dataclass(frozen=True, slots=True)
class Inventory:
    """A report that is there: of which bucket, from when, and its files. Opened by `open_inventory`."""

    location: str
    created: datetime
    _bucket: Bucket
    _source: str
    _columns: CsvColumns | None
    _files: tuple[_File, ...]
    _looked: int = 0

    @property
    def requests(self) -> int:
        """How many requests reading it takes."""
        return 2 + len(self._files) + self._looked

    def keys(self, prefix: str) -> Iterator[Sequence[bytes]]:
        """The keys under the prefix, in batches and in no order; of a bucket with versions, those that are current.

        One file at a time is on the disk. Raises SettingsError for what is broken, TransientError when S3 is away.
        Until it has ended nothing is proven: of a broken file some keys were given before it showed.
        """
        for number, file in enumerate(self._files, 1):
            with temporary_folder("sniffer-inventory-") as folder:
                path = folder / "part"
                where = f"file {number} of {len(self._files)}, {file.key!r}"
                _save(self._bucket, file.key, path, file.size, f"{self.location}: {where}")
                if path.stat().st_size != file.size or _md5(path) != file.md5.lower():
                    raise SettingsError(
                        f"{self.location}: {where} is not what the manifest says (size, MD5): {_OTHERWISE}"
                    )
                try:
                    if self._columns is None:
                        yield from parquet_keys(path, self._source, prefix)
                    else:
                        yield from csv_keys(path, self._columns, self._source, prefix)
                except BrokenRows as error:
                    raise SettingsError(f"{self.location}: {where} {error}: {_OTHERWISE}") from error


def open_inventory(location: str, source_bucket: str, fetch: FetchSettings) -> Inventory:
    """The report of that bucket, by the `s3://` address of its manifest.json, or the newest that is whole in the folder
    of dated ones. Its files lie in the manifest's bucket.

    Raises SettingsError when it is not that, is broken, is ORC or may not be read; TransientError when S3 is away.
    """
    name, key = _place(location)
    bucket = bucket_of(name, fetch, MOST_MANIFEST_BYTES)
    looked = 0
    if key.endswith("/"):
        key, looked = _newest(bucket, key, location)
        location = f"{S3_SCHEME}{name}/{key}"
    with temporary_folder("sniffer-inventory-") as folder:
        path, checksum = folder / "manifest", folder / "checksum"
        _save(bucket, key, path, MOST_MANIFEST_BYTES, location)
        beside = key.removesuffix(MANIFEST) + CHECKSUM
        # AWS writes it last: without it the report is not whole.
        _save(bucket, beside, checksum, _MOST_CHECKSUM_BYTES, f"{S3_SCHEME}{name}/{beside}")
        if checksum.read_bytes().strip().lower() != _md5(path).encode():
            raise SettingsError(f"{location} is not what {CHECKSUM} beside it says (MD5): {_OTHERWISE}")
        manifest = _parsed(path.read_bytes(), location)
    if manifest.source_bucket != source_bucket and not _is_alias(source_bucket):
        raise SettingsError(
            f"{location} is the inventory of bucket {manifest.source_bucket!r}, not {source_bucket!r}: {_OTHERWISE}"
        )
    return Inventory(
        location,
        _created(manifest.creation_timestamp, location),
        bucket,
        manifest.source_bucket,
        _columns(manifest, location),
        tuple(manifest.files),
        looked,
    )


def _place(location: str) -> tuple[str, str]:
    if not location.startswith(S3_SCHEME):
        raise SettingsError(f"--inventory {location!r}: give the address of a report, s3://bucket/…/{MANIFEST}")
    name, key = split_s3(location)
    if key.endswith("symlink.txt"):
        raise SettingsError(f"{location} is for Hive: give the {MANIFEST} of the same date, two folders above")
    if key.rpartition("/")[2] not in (MANIFEST, "") or not key:
        raise SettingsError(
            f"--inventory {location!r}: it has to end in {MANIFEST}, as s3://bucket/…/DATE/{MANIFEST}, or be the "
            "folder of the dated reports, s3://bucket/…/"
        )
    return name, key


def _newest(bucket: Bucket, folder: str, location: str) -> tuple[str, int]:
    """The manifest's key of the newest report there, and by how many requests it was found.

    Its checksum is what AWS writes last, so that one is looked for.
    """
    for asked, back in enumerate(_LOOK_BACK, 1):
        page = bucket.keys_after(folder, f"{folder}{datetime.now(UTC) - back:%Y-%m-%d}" if back else folder)
        whole = [key for key in page.keys if _DATED.fullmatch(key, len(folder))]
        if whole:
            return max(whole).removesuffix(CHECKSUM) + MANIFEST, asked
    raise SettingsError(
        f"{location} has no whole report (none as 2026-11-25T01-00Z/{CHECKSUM}): give the folder in which AWS puts the "
        f"dates, or a {MANIFEST}; after inventory is switched on, the first comes within two days"
    )


def _parsed(data: bytes, location: str) -> _Manifest:
    try:
        manifest = msgspec.json.decode(data, type=_Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{location} is no manifest of S3 Inventory ({one_line(error)}): {_OTHERWISE}") from error
    for file in manifest.files:
        if not file.key or not 0 <= file.size <= _MOST_FILE_BYTES or not _MD5.fullmatch(file.md5):
            raise SettingsError(f"{location} has a file of no proper key, size or MD5 ({file.key!r}): {_OTHERWISE}")
    return manifest


def _created(text: str, location: str) -> datetime:
    try:
        return datetime.fromtimestamp(int(text) / 1000, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise SettingsError(f"{location} has no proper creationTimestamp ({one_line(text, 50)!r})") from error


def _columns(manifest: _Manifest, location: str) -> CsvColumns | None:
    """Where a CSV file has what; None for Parquet."""
    match manifest.file_format.upper():
        case "PARQUET":
            return None
        case "CSV":
            names = [name.strip() for name in manifest.file_schema.split(",")]
            if "Bucket" not in names or "Key" not in names:
                raise SettingsError(f"{location}: its fileSchema has no Bucket or no Key: {_OTHERWISE}")
            places = {name: at for at, name in enumerate(names)}
            return CsvColumns(
                places["Bucket"], places["Key"], places.get("IsLatest"), places.get("IsDeleteMarker"), len(names)
            )
        case other:
            raise SettingsError(
                f"{location} is an inventory in {one_line(other, 40)}, which is not read here: configure S3 Inventory "
                "to write CSV or Parquet, or leave out --inventory"
            )


def _save(bucket: Bucket, key: str, path: Path, most_bytes: int, where: str) -> None:
    try:
        bucket.save(key, path, most_bytes)
    except NotFetched as error:
        verdict = error.verdict
        if verdict.outcome is Outcome.FAILED:
            raise TransientError(f"cannot read {where} ({verdict.message}): run again later") from error
        if verdict.outcome is Outcome.GONE:
            why = "there is none, or not all of it yet: AWS writes manifest.checksum last, and old reports may expire"
        elif verdict.code == InaccessibleCode.ACCESS_DENIED:
            why = "it needs s3:GetObject there, and kms:Decrypt where it is encrypted by a key of KMS"
        else:
            why = _OTHERWISE
        raise SettingsError(f"cannot read {where} ({verdict.message}): {why}") from error
    except OSError as error:
        raise SettingsError(f"cannot keep {where} in {path.parent} ({one_line(error)}): set TMPDIR") from error


def _is_alias(name: str) -> bool:
    """Whether it is an access point's name, of a bucket that is called otherwise."""
    return name.startswith("arn:") or name.endswith(("-s3alias", "--ol-s3", "--xa-s3"))


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
