"""What planning and listing ask of a store, and what it answers: pages of keys after a key, and folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sniffer.core.key_ranges import key_bytes


class KeyPage(Protocol):
    """A page of a listing in the store's order. It is only looked into, so that it need not hold its keys."""

    @property
    def keys(self) -> Sequence[str]:
        """Its keys; none when nothing comes after what was asked for."""

    @property
    def is_last(self) -> bool:
        """Whether the listing ends with it."""


class FolderPage(Protocol):
    """The first page of what is in a folder."""

    @property
    def folders(self) -> Sequence[str]:
        """Folders in it, by their whole prefixes, which end with the delimiter."""

    @property
    def is_last(self) -> bool:
        """Whether nothing more is in it."""


class UnsortedStore(Exception):
    """The store's answer is no listing in the order of keys from the key on that was asked for; the text says why."""


@dataclass(frozen=True, slots=True)
class FolderProbe:
    """A question: what is in that folder, by its whole prefix, without what is in the folders in it."""

    prefix: str


@dataclass(frozen=True, slots=True)
class Probe:
    """A question: the first keys after that one."""

    after: str


def check_page(after: bytes, keys: Sequence[str]) -> None:
    """Raises UnsortedStore when the first key is not after `after`, or the order is wrong at one of a few places.

    Whoever lists a range checks every key.
    """
    if not keys:
        return
    seen = after
    last = len(keys) - 1
    for at in sorted({0, last // 3, 2 * last // 3, last}):
        key = key_bytes(keys[at])
        if key <= seen:
            why = "the store ignores where a listing is to begin" if seen is after else "the store lists in no order"
            raise UnsortedStore(f"{why}: {key!r} comes after {seen!r}")
        seen = key


def halves(number: int) -> float:
    """1/2, 1/4, 3/4, 1/8, 5/8, …: each new one is far from those before (van der Corput, 1935)."""
    value, part, number = 0.0, 0.5, number + 1
    while number:
        number, bit = divmod(number, 2)
        value += bit * part
        part /= 2
    return value
