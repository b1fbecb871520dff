"""Where labelled images lie: what is labelled there, and its bytes.

A place is a local directory or an S3 prefix that holds `labels/<class>/<slice>-<number>.<ext>` or `<class>/…` alone
(label_folders.py), or a table of S3 keys (label_table.py). S3 is read with the credentials of the AWS_* variables.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NoReturn, Protocol

from sniffer.adapters.s3.bucket import Bucket
from sniffer.adapters.s3.fetching import StoredObject
from sniffer.adapters.s3.locations import S3_SCHEME, open_bucket, read_object, split_s3
from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.model_records import LABELS
from sniffer.core.settings import FetchSettings, fetch_settings, image_settings
from sniffer_model.data.label_folders import CLASS_FOLDERS, LABELS_FOLDER, labelled_by_folder
from sniffer_model.data.label_table import TableSource
from sniffer_model.data.manifest import LabelledSet
from sniffer_model.data.table_files import ALL_PARTS, is_table_folder
from sniffer_model.data.table_rows import TABLE_SUFFIXES, is_table_name


class ImageSource(Protocol):
    """A place of labelled images."""

    location: str
    """What open_source() takes to open the same place again."""
    readers: int
    """How many threads read it well."""

    def labelled(self) -> LabelledSet:
        """Every labelled image, in an order that only depends on the data; raises SettingsError on a wrong label."""

    def read(self, key: str) -> bytes:
        """The whole image, as `read_stored` has it."""

    def read_stored(self, key: str) -> StoredObject:
        """The whole image and its ETag. May be called from many threads.

        Raises OSError when the image is gone, UnreadableImage when it is too large, and TransientError or
        SettingsError when the place gives no answer or no right: then no image is to be had.
        """

    def why_gone(self, keys: Sequence[str]) -> str | None:
        """What the images that are not there have in common, for people; None when nothing is found."""


class LocalSource:
    """A directory that holds `labels/<class>/…`, or the folders of the classes themselves."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self.location = str(self._root)
        self.readers = os.cpu_count() or 1

    def labelled(self) -> LabelledSet:
        """Every file under `labels/`, or without it every file of the directory; what links lead to included."""
        root = LABELS_FOLDER if (self._root / LABELS_FOLDER).is_dir() else ""
        return labelled_by_folder(sorted(self._keys(root)), self.location, root)

    def _keys(self, root: str) -> Iterator[str]:
        for folder, folders, files in os.walk(self._root / root, followlinks=True):
            here = Path(folder)
            for name in folders:
                # A folder of a class is often a link to where there is room; one to a folder above it has no end, also
                # where that is above by another link.
                if (here / name).is_symlink() and _leads_back(here / name):
                    raise SettingsError(f"{here / name} is a link to a folder that it lies in: remove the link")
            for name in files:
                yield (here / name).relative_to(self._root).as_posix()

    def why_gone(self, keys: Sequence[str]) -> str | None:  # noqa: ARG002 - keys come from the listing
        """Nothing to be found: these files were listed a moment ago."""
        return None

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
    """An S3 prefix that holds `labels/<class>/…`, or the classes themselves; keys are relative to it.

    `bucket` is one that was checked.
    """

    def __init__(self, bucket: Bucket, prefix: str, readers: int) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self.location = f"{S3_SCHEME}{bucket.name}/{prefix}"
        self.readers = readers

    def labelled(self) -> LabelledSet:
        """Every object under `labels/`, or without it every object under the prefix."""
        root = LABELS_FOLDER if self._holds(f"{LABELS_FOLDER}/") else ""
        if not root and not any(self._holds(f"{label}/") for label in LABELS):
            self._refuse()
        return labelled_by_folder(self._keys(f"{root}/" if root else ""), self.location, root)

    def _keys(self, folder: str) -> Iterator[str]:
        for page in self._bucket.pages(self._prefix + folder):
            for item in page:
                yield item.key.removeprefix(self._prefix)

    def _holds(self, folder: str) -> bool:
        return self._bucket.holds(self._prefix + folder)

    def _refuse(self) -> NoReturn:
        if self._holds(""):
            raise SettingsError(f"there are no labelled images in {self.location}: put some under {CLASS_FOLDERS}")
        raise SettingsError(
            f"{self.location} does not exist, there is no object under it: check the prefix; it must hold "
            f"{CLASS_FOLDERS}"
        )

    def why_gone(self, keys: Sequence[str]) -> str | None:  # noqa: ARG002 - keys come from the listing
        """Nothing to be found: these objects were listed a moment ago."""
        return None

    def read(self, key: str) -> bytes:
        """The object's bytes."""
        return self.read_stored(key).data

    def read_stored(self, key: str) -> StoredObject:
        """The object as it is now."""
        return read_object(self._bucket, self._prefix + key)


def open_source(location: str, fetch: FetchSettings | None = None) -> ImageSource:
    """The source at that location; raises SettingsError when there is none. `fetch` is read from the environment."""
    fetch = fetch or fetch_settings()
    if is_table_name(location) or location.endswith(ALL_PARTS):
        return TableSource(location, fetch)
    if location.startswith(S3_SCHEME):
        return _open_prefix(location, fetch)
    if "://" in location:
        raise SettingsError(
            f"{location!r} is neither a directory, s3://bucket/prefix, nor a table ({', '.join(TABLE_SUFFIXES)})"
        )
    root = Path(location)
    if any((root / folder).is_dir() for folder in (LABELS_FOLDER, *LABELS)):
        return LocalSource(root)
    if root.is_dir() and is_table_folder(location, fetch):
        return TableSource(location + ALL_PARTS, fetch)
    raise SettingsError(f"{location!r} holds no folder {LABELS_FOLDER}/: put images under {CLASS_FOLDERS} there")


def _open_prefix(location: str, fetch: FetchSettings) -> ImageSource:
    name, prefix = split_s3(location)
    folder = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
    bucket = open_bucket(name, fetch, image_settings().max_bytes)
    by_folder = any(bucket.holds(f"{folder}{name}/") for name in (LABELS_FOLDER, *LABELS))
    if not by_folder and is_table_folder(location, fetch):
        return TableSource(location.rstrip("/") + ALL_PARTS, fetch)
    return S3Source(bucket, folder, fetch.threads)


def _leads_back(link: Path) -> bool:
    target = link.resolve()
    return any(above.resolve().is_relative_to(target) for above in link.parents)
