"""Ranges of keys, half open, in the order in which S3 lists: byte by byte of their UTF-8."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

LONGEST_BYTES = 1024
"""Of a key, as UTF-8."""


def can_be_bound(key: str) -> bool:
    """Whether a range may begin or end there: the key is text that any command line and any request can hold."""
    return key.isprintable() and len(key.encode()) <= LONGEST_BYTES


def key_bytes(key: str) -> bytes:
    """What S3 orders keys by. Bytes that are no UTF-8 are lone surrogates in the text, and themselves in the order."""
    return key.encode(errors="surrogateescape")


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The keys k with after < k <= up_to, byte by byte. "" as `after`: from the first; None as `up_to`: to the last.

    Python's own order of texts is not S3's: a lone surrogate, which stands for a byte that is no UTF-8, has another
    place in it. Raises ValueError for a range that no key can be in.
    """

    after: str = ""
    up_to: str | None = None

    def __post_init__(self) -> None:
        if self.up_to is not None and key_bytes(self.up_to) <= key_bytes(self.after):
            raise ValueError(f"no key is after {self.after!r} and up to {self.up_to!r}: the second must be greater")

    def __str__(self) -> str:
        return f"({self.after!r}, {'end' if self.up_to is None else repr(self.up_to)}]"

    @property
    def is_whole(self) -> bool:
        """Whether every key is in it."""
        return not self.after and self.up_to is None

    def contains(self, key: str) -> bool:
        """Whether the key is in it."""
        return key_bytes(key) > key_bytes(self.after) and not self.ends_before(key)

    def ends_before(self, key: str) -> bool:
        """Whether the key comes after its end."""
        return self.up_to is not None and key_bytes(key) > key_bytes(self.up_to)


ALL_KEYS: KeyRange = KeyRange()
"""The range that every key is in."""


def tiling_faults(ranges: Iterable[KeyRange], whole: KeyRange | None = None) -> list[str]:
    """Each gap and each overlap, in words; none when every key of `whole` is in exactly one of the ranges.

    `whole` is all keys unless given. The ranges may come in any order.
    """
    whole = KeyRange() if whole is None else whole
    faults: list[str] = []
    reached, is_end = whole.after, False
    for one in sorted(ranges, key=lambda each: key_bytes(each.after)):
        if is_end or key_bytes(one.after) < key_bytes(reached):
            faults.append(f"an overlap: {one} begins before {'end' if is_end else repr(reached)}, where another ends")
        elif key_bytes(one.after) > key_bytes(reached):
            faults.append(f"a gap: no range has the keys of {KeyRange(reached, one.after)}")
        if one.up_to is None:
            is_end = True
        elif not is_end and key_bytes(one.up_to) > key_bytes(reached):
            reached = one.up_to
    return faults + _end_faults(reached, whole, is_end=is_end)


def _end_faults(reached: str, whole: KeyRange, *, is_end: bool) -> list[str]:
    if is_end:
        return [] if whole.up_to is None else [f"a range has no end, beyond that of {whole}"]
    if whole.up_to is None or key_bytes(reached) < key_bytes(whole.up_to):
        return [f"a gap: no range has the keys of {KeyRange(reached, whole.up_to)}"]
    return [f"a range ends at {reached!r}, beyond {whole}"] if reached != whole.up_to else []
