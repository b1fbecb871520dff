"""Where labelled images lie: what is labelled there, and its bytes.

A place is a local directory or an S3 prefix that holds `labels/<class>/<slice>-<number>.<ext>`, or a table of S3 keys
(label_table.py). S3 is read with the credentials of the AWS_* variables.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from sniffer.adapters.s3.bucket import Bucket, StoredObject
from sniffer.adapters.s3.locations import S3_SCHEME, open_bucket, read_object, split_s3
from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.model_records import LABELS
from sniffer.core.settings import FetchSettings, fetch_settings, image_settings
from sniffer_model.data.label_table import TableSource, is_table
from sniffer_model.data.manifest import LabelledImage

LABELS_FOLDER = "labels"
CLASS_FOLDERS = " and ".join(f"{LABELS_FOLDER}/{label}/" for label in LABELS)


class ImageSource(Protocol):
    """A place of labelled images."""

    location: str
    """What open_source() takes to open the same place again."""
    readers: int
    """How many threads read it well."""

    def images(self) -> Sequence[LabelledImage]:
        """Every labelled image, in an order that only depends on the data; raises SettingsError on a wrong label."""

    def read(self, key: str) -> bytes:
        """The whole image, as `read_stored` has it."""

    def read_stored(self, key: str) -> StoredObject:
        """The whole image and its ETag. May be called from many threads.

        Raises OSError when the image is gone, UnreadableImage when it is too large, and TransientError or
        SettingsError when the place gives no answer or no right: then no image is to be had.
        """


class LocalSource:
    """A directory that holds `labels/<class>/…`."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self.location = str(self._root)
        self.readers = os.cpu_count() or 1

    def images(self) -> Sequence[LabelledImage]:
        """Every file under `labels/`, links to files included."""
        return labelled_by_folder(sorted(self._keys()), self.location)

    def _keys(self) -> Iterator[str]:
        for folder, _, files in os.walk(self._root / LABELS_FOLDER):
            for name in files:
                yield (Path(folder) / name).relative_to(self._root).as_posix()

    def read(self, key: str) -> bytes:
        """The file's bytes; ContractError for a key that leaves the directory, which no listing gives."""
        path = PurePosixPath(key)
        if path.is_absolute() or ".." in path.parts:
            raise ContractError(f"{key} is not below {self.location}: take a new snapshot")
        return (self._root / path).read_bytes()

    def read_stored(self, key: str) -> StoredObject:
        """The file's bytes, and the ETag that S3 would give them in one part: their MD5."""
        data = self.read(key)
        return StoredObject(data, hashlib.md5(data, usedforsecurity=False).hexdigest())


class S3Source:
    """An S3 prefix that holds `labels/<class>/…`; keys are relative to it. `bucket` is one that was checked."""

    def __init__(self, bucket: Bucket, prefix: str, readers: int) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self.location = f"{S3_SCHEME}{bucket.name}/{prefix}"
        self.readers = readers

    def images(self) -> Sequence[LabelledImage]:
        """Every object under `labels/` but the empty ones named `…/`, with which consoles show empty folders."""
        folder = f"{self._prefix}{LABELS_FOLDER}/"
        listed = (item for page in self._bucket.pages(folder) for item in page)
        keys = [item.key.removeprefix(self._prefix) for item in listed if item.size_bytes or item.key[-1] != "/"]
        if not keys and next(self._bucket.pages(self._prefix), None) is None:
            raise SettingsError(
                f"{self.location} does not exist, there is no object under it: check the prefix; it must hold "
                f"{CLASS_FOLDERS}"
            )
        return labelled_by_folder(keys, self.location)

    def read(self, key: str) -> bytes:
        """The object's bytes."""
        return self.read_stored(key).data

    def read_stored(self, key: str) -> StoredObject:
        """The object as it is now."""
        return read_object(self._bucket, self._prefix + key)


def open_source(location: str, fetch: FetchSettings | None = None) -> ImageSource:
    """The source at that location; raises SettingsError when there is none. `fetch` is read from the environment."""
    fetch = fetch or fetch_settings()
    if is_table(location):
        return TableSource(location, fetch)
    if location.startswith(S3_SCHEME):
        name, prefix = split_s3(location)
        folder = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
        return S3Source(open_bucket(name, fetch, image_settings().max_bytes), folder, fetch.threads)
    if "://" in location:
        raise SettingsError(f"{location!r} is neither a directory, s3://bucket/prefix, nor a .csv or .parquet table")
    root = Path(location)
    if not (root / LABELS_FOLDER).is_dir():
        raise SettingsError(f"{location!r} holds no folder {LABELS_FOLDER}/: put images under {CLASS_FOLDERS} there")
    return LocalSource(root)


def labelled_by_folder(keys: Sequence[str], location: str) -> list[LabelledImage]:
    """Label and slice of keys `labels/<class>/<slice>-<number>.<ext>`; raises SettingsError where they show none."""
    if not keys:
        raise SettingsError(f"there are no labelled images in {location}: put some under {CLASS_FOLDERS}")
    for key in keys:
        _, *folders, _ = PurePosixPath(key).parts
        if not folders:
            raise SettingsError(f"{key} in {location} belongs to no class: put it under {CLASS_FOLDERS}")
        if folders[0] not in LABELS:
            raise SettingsError(
                f"{LABELS_FOLDER}/{folders[0]}/ in {location} is not a class of this model: images go under "
                f"{CLASS_FOLDERS}"
            )
    return [LabelledImage(key, PurePosixPath(key).parts[1], _slice(key)) for key in keys]


def _slice(key: str) -> str:
    """`blister-pack-0012.jpg` is of the slice `blister-pack`; a name without a number at its end has none."""
    match = re.fullmatch(r"(.+?)-\d+", PurePosixPath(key).stem)
    return match[1] if match else ""
