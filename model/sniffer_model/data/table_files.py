"""The files of a table: one, or a folder that Spark and its like write, on this machine or in S3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from sniffer.adapters.s3.bucket import Bucket
from sniffer.adapters.s3.locations import S3_SCHEME, open_bucket, read_object, split_s3
from sniffer.core.errors import SettingsError, UnreadableImage
from sniffer.core.settings import MIB, FetchSettings
from sniffer_model.data.table_rows import MAX_TABLE_BYTES, is_table_name

ALL_PARTS = "/part-*"
"""The end of the location of a table in a folder, by which it is known for one even when the table is gone."""
_PART = "part-"
_DONE, _UNDER_WAY = "_SUCCESS", "_temporary"


@dataclass(frozen=True, slots=True)
class TableFile:
    """One file of a table. `name` says where it is in messages, `constants` are columns that its folders name."""

    name: str
    data: bytes
    constants: Mapping[str, str]


def is_table_folder(location: str, fetch: FetchSettings) -> bool:
    """Whether there is a folder of parts: one that Spark has written, or is writing."""
    if not location.startswith(S3_SCHEME):
        return any(_is_mark(name) for name in _local_names(Path(location)))
    bucket_name, prefix = split_s3(location)
    bucket = open_bucket(bucket_name, fetch, MAX_TABLE_BYTES)
    folder = _as_folder(prefix)
    return any(bucket.holds(folder + mark) for mark in (_PART, _DONE, f"{_UNDER_WAY}/"))


def table_files(location: str, fetch: FetchSettings) -> Iterator[TableFile]:
    """The table's files in their order; SettingsError when it is not there, not whole, or too large."""
    location = location.removesuffix(ALL_PARTS)
    if location.startswith(S3_SCHEME):
        yield from _files_in_s3(location, fetch)
    elif (root := Path(location)).is_dir():
        for name in _part_names(sorted(_local_names(root)), location):
            yield TableFile(name, _read_file(root / name), _constants(name))
    else:
        yield TableFile(location, _read_file(Path(location)), {})


def _files_in_s3(location: str, fetch: FetchSettings) -> Iterator[TableFile]:
    bucket_name, key = split_s3(location)
    bucket = open_bucket(bucket_name, fetch, MAX_TABLE_BYTES)
    folder = _as_folder(key)
    names = [item.key.removeprefix(folder) for page in bucket.pages(folder) for item in page]
    if not names and not folder:
        raise SettingsError(f"there is no object in {location}: it is no table")
    if not names:
        yield TableFile(location, _read_key(bucket, key, location), {})
        return
    for name in _part_names(names, location):
        where = f"{location.rstrip('/')}/{name}"
        yield TableFile(name, _read_key(bucket, folder + name, where), _constants(name))


def _as_folder(prefix: str) -> str:
    return f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""


def _local_names(root: Path) -> Iterator[str]:
    return (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() or path.name == _UNDER_WAY)


def _is_mark(name: str) -> bool:
    first, *_ = PurePosixPath(name).parts
    return first in (_DONE, _UNDER_WAY) or PurePosixPath(name).name.startswith(_PART)


def _part_names(names: list[str], location: str) -> list[str]:
    """The names of parts; hidden files, checksums and marks are none."""
    if any(_UNDER_WAY in PurePosixPath(name).parts for name in names):
        raise SettingsError(f"{location} holds {_UNDER_WAY}: the job that writes it is not done, or failed")
    parts = [
        name
        for name in names
        if not any(part.startswith((".", "_")) for part in PurePosixPath(name).parts) and is_table_name(name)
    ]
    if not parts:
        raise SettingsError(f"{location} holds no {_PART}….parquet or {_PART}….csv: it is no table")
    return parts


def _constants(name: str) -> dict[str, str]:
    """Columns that are in the names of folders, such as `label=drugs/part-0.parquet`."""
    folders = (folder.partition("=") for folder in PurePosixPath(name).parts[:-1])
    return {column.lower(): unquote(value) for column, found, value in folders if found}


def _read_file(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise _too_large(path)
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"cannot read the table {path}: {error.strerror}") from error


def _read_key(bucket: Bucket, key: str, where: str) -> bytes:
    try:
        return read_object(bucket, key).data
    except OSError as error:
        raise SettingsError(f"cannot read the table {where}: {error.strerror}") from error
    except UnreadableImage as error:
        raise _too_large(where) from error


def _too_large(where: object) -> SettingsError:
    return SettingsError(f"the table {where} is over {MAX_TABLE_BYTES // MIB} MiB: split it")
