"""Where labelled images lie: names and bytes under `labels/<class>/…` of one place. Local directories for now."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from sniffer.contracts import SettingsError

LABELS_FOLDER = "labels"


class ImageSource(Protocol):
    """A place of labelled images. Keys are relative, with `/`, and start with `labels/`."""

    location: str
    """What open_source() takes to open the same place again."""

    def keys(self) -> Iterator[str]:
        """Every key under `labels/`, in byte order of each folder."""

    def read(self, key: str) -> bytes:
        """The whole image; raises OSError when it cannot be read."""


class LocalSource:
    """A directory that holds `labels/<class>/…`."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self.location = str(self._root)

    def keys(self) -> Iterator[str]:
        """Every file under `labels/`, links to files included."""
        for folder, folders, files in os.walk(self._root / LABELS_FOLDER):
            folders.sort()
            for name in sorted(files):
                yield (Path(folder) / name).relative_to(self._root).as_posix()

    def read(self, key: str) -> bytes:
        """The file's bytes."""
        return (self._root / key).read_bytes()


def open_source(location: str) -> ImageSource:
    """The source at that location; raises SettingsError when there is none."""
    if "://" in location:
        raise SettingsError(f"labelled images can only be read from a local directory so far, not from {location!r}")
    root = Path(location)
    if not (root / LABELS_FOLDER).is_dir():
        raise SettingsError(f"{location!r} holds no folder {LABELS_FOLDER}/: put images under labels/<class>/ there")
    return LocalSource(root)
