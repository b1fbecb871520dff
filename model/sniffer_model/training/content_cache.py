"""Arrays on disk by the content they were computed from: added shard by shard, shared between runs.

In and out: arrays of one shape and type by hex SHA-256 of an image's bytes.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sniffer.core.errors import SettingsError
from sniffer.core.files import replacing

_FAMILY = "shard"


class ContentCache:
    """A folder of arrays by content hash.

    Each write adds a file of its own under its final name at once, so that runs may share a cache, and an
    interrupted run keeps what it has written.
    """

    def __init__(self, folder: Path, name: str, shape: tuple[int, ...], dtype: str) -> None:
        self._folder, self._name = folder, name
        self._row = np.dtype([("content_sha256", "u1", (32,)), (name, dtype, shape)])

    def prepare(self) -> None:
        """Make the cache's folder, so that a wrong path shows before an hour's work; raises SettingsError."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._not_writable(error) from error

    def load(self, wanted: Iterable[str]) -> dict[str, NDArray[Any]]:
        """What is known of these contents (hex SHA-256), read from the disk when it is looked at."""
        missing = {bytes.fromhex(content) for content in wanted}
        known: dict[str, NDArray[Any]] = {}
        for path in sorted(self._folder.glob("*.npy")):
            shard = np.load(path, mmap_mode="r")
            for row, content in enumerate(shard["content_sha256"]):
                if (key := content.tobytes()) in missing:
                    missing.discard(key)
                    known[key.hex()] = shard[self._name][row]
        return known

    def add(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep these arrays, by content (hex SHA-256)."""
        rows = np.empty(len(arrays), self._row)
        for row, (content, values) in zip(rows, arrays.items(), strict=True):
            row["content_sha256"] = np.frombuffer(bytes.fromhex(content), np.uint8)
            row[self._name] = values
        self.prepare()
        try:
            with replacing(self._folder / f"{uuid.uuid4().hex}.npy", family=_FAMILY) as file:
                np.save(file, rows)
        except OSError as error:
            raise self._not_writable(error) from error

    def _not_writable(self, error: OSError) -> SettingsError:
        return SettingsError(f"cannot write to the {self._name.rstrip('s')} cache {self._folder}: {error.strerror}")
