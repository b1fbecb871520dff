"""The folders of a bucket, as listings with a delimiter show them, and keys written by the folder that they are in."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

from sniffer.core.key_ranges import key_bytes
from sniffer.shards.keyspace import LAST
from sniffer.shards.stores import FolderPage, FolderProbe

MOST_PROBES = 120
"""So many folders are listed, whole levels of them only: other questions say more about the rest."""
_FIRST_CODE = 0x10000


class FolderTree:
    """Finds folders level by level, while whole levels can be listed. Folders with more than a page are not opened."""

    def __init__(self, prefix: str) -> None:
        self._to_ask = deque([prefix])
        self._left = MOST_PROBES - 1
        self._waiting = 0
        self._next_level: list[str] = []
        self._folders: set[str] = set()

    def next(self) -> FolderProbe | None:
        """The next folder to list; None when answers must come first, or there is none."""
        if not self._to_ask:
            return None
        self._waiting += 1
        return FolderProbe(self._to_ask.popleft())

    def take(self, probe: FolderProbe, page: FolderPage) -> None:
        """What is in a folder."""
        self._waiting -= 1
        if page.is_last and page.folders:
            self._folders.discard(probe.prefix)
            self._folders.update(page.folders)
            self._next_level += page.folders
        if not self._waiting and not self._to_ask and len(self._next_level) <= self._left:
            self._left -= len(self._next_level)
            self._to_ask.extend(self._next_level)
            self._next_level = []

    @property
    def is_finished(self) -> bool:
        """Whether all is known that will be."""
        return not self._waiting and not self._to_ask

    def folders(self) -> list[str]:
        """The innermost ones that are known, in order; none is in another."""
        return sorted(self._folders, key=key_bytes)


class FolderCode:
    """Writes a key as one character for its folder, and its name there: names in different folders are then alike.

    The order of keys stays what it is. Without folders a key is written as it is.
    """

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = folders
        self.symbols = [_FIRST_CODE + 2 * at + 1 for at in range(len(folders))]
        """Of the folders; between two of them there is one for keys that are in none."""

    def encode(self, key: str) -> str:
        """The key in this writing."""
        if not self._folders:
            return key
        at = bisect_right(self._folders, key)
        if at and key.startswith(folder := self._folders[at - 1]):
            return chr(_FIRST_CODE + 2 * at - 1) + key[len(folder) :]
        return chr(_FIRST_CODE + 2 * at) + key

    def decode(self, text: str) -> str:
        """The key, or text between keys, that is written so; for a place where no folder is, the end of that before."""
        if not self._folders:
            return text
        at, is_folder = divmod(ord(text[0]) - _FIRST_CODE if text else 0, 2)
        if is_folder and 0 <= at < len(self._folders):
            return self._folders[at] + text[1:]
        if text[1:] and 0 <= at <= len(self._folders):
            return text[1:]
        return self._folders[min(at, len(self._folders)) - 1] + LAST if at > 0 else ""
