"""Buckets of any size that hold no keys: the key of each rank is computed, and the rank of each key is searched."""

from __future__ import annotations

import heapq
import random
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Generic, TypeVar, overload

from sniffer.core.key_ranges import key_bytes
from sniffer.shards.stores import FolderProbe, Probe

Q = TypeVar("Q")
A = TypeVar("A")
PAGE = 1000
_GOLDEN = 0x9E3779B97F4A7C15
HEX, DIGITS = "0123456789abcdef", "0123456789"
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SCRIPTS = [*"abcxyz", *"éüß", *map(chr, range(0x410, 0x450)), *map(chr, range(0x4E00, 0x5E00, 13)), *"😀😁😂🙈🙉🙊"]


class Layout(ABC):
    """Keys in the order of their bytes, by rank from 0."""

    count: int

    @abstractmethod
    def key(self, rank: int) -> str:
        """The key of that rank."""

    def up_to(self, key: str) -> int:
        """How many keys are at or before that one."""
        return bisect_right(range(self.count), key_bytes(key), key=lambda rank: key_bytes(self.key(rank)))


@dataclass
class Words(Layout):
    """`before`, a word of so many symbols, and `behind`: `count` words, spread evenly but for some chance."""

    before: str
    symbols: Sequence[str]
    width: int
    count: int
    behind: str = ""

    def __post_init__(self) -> None:
        self.symbols = sorted(self.symbols, key=key_bytes)
        self._space = len(self.symbols) ** self.width
        assert self.count <= self._space

    def key(self, rank: int) -> str:
        number = rank * self._space // self.count
        room = (rank + 1) * self._space // self.count - number
        number += (rank * _GOLDEN ^ 0xABCDEF0123) * 0xBF58476D1CE4E5B9 % (1 << 64) % room
        word = []
        for _ in range(self.width):
            number, digit = divmod(number, len(self.symbols))
            word.append(self.symbols[digit])
        return self.before + "".join(reversed(word)) + self.behind


@dataclass
class Joined(Layout):
    """Layouts one after the other."""

    parts: Sequence[Layout]

    def __post_init__(self) -> None:
        self._ends = list(accumulate(part.count for part in self.parts))
        self.count = self._ends[-1]
        edges = [key_bytes(part.key(rank)) for part in self.parts for rank in (0, part.count - 1)]
        assert edges == sorted(edges)

    def key(self, rank: int) -> str:
        at = bisect_right(self._ends, rank)
        return self.parts[at].key(rank - (self._ends[at] - self.parts[at].count))


@dataclass
class Ranked(Sequence[str]):
    """The keys of a range of ranks."""

    layout: Layout
    ranks: range

    def __len__(self) -> int:
        return len(self.ranks)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[str]: ...
    def __getitem__(self, at: int | slice) -> str | Sequence[str]:
        if isinstance(at, slice):
            return Ranked(self.layout, self.ranks[at])
        return self.layout.key(self.ranks[at])


@dataclass(frozen=True)
class Page:
    """One answer of a bucket."""

    keys: Sequence[str]
    is_last: bool
    folders: Sequence[str] = ()


@dataclass
class VirtualBucket:
    """Answers as S3 does, and counts what it was asked."""

    layout: Layout
    requests: int = 0

    def answer(self, probe: Probe | FolderProbe) -> Page:
        """The answer to a question."""
        return self.folders(probe.prefix) if isinstance(probe, FolderProbe) else self.keys_after("", probe.after)

    def keys_after(self, prefix: str, after: str) -> Page:
        """A page of at most 1,000 keys."""
        self.requests += 1
        assert not prefix
        low = self.layout.up_to(after)
        high = min(self.layout.count, low + PAGE)
        return Page(Ranked(self.layout, range(low, high)), high == self.layout.count)

    def folders(self, prefix: str) -> Page:
        """A page of at most 1,000 folders and keys."""
        self.requests += 1
        layout = self.layout
        rank = bisect_left(range(layout.count), key_bytes(prefix), key=lambda rank: key_bytes(layout.key(rank)))
        found: list[str] = []
        seen = 0
        while rank < layout.count and seen < PAGE and (key := layout.key(rank)).startswith(prefix):
            seen += 1
            end = key.find("/", len(prefix)) + 1
            if end:
                found.append(key[:end])
            rank = layout.up_to(key[:end] + "\U0010ffff") if end else rank + 1
        return Page((), rank == layout.count or not layout.key(rank).startswith(prefix), found)


def days(keys: int, years: range) -> Layout:
    """`2024/11/26/img_….jpg`: more every year, and unequal days."""
    chance = random.Random(1)
    names = [f"{year}/{month:02}/{day:02}/" for year in years for month in range(1, 13) for day in range(1, 29)]
    weights = [chance.uniform(1, 3) * (1 + 2 * at / len(names)) for at in range(len(names))]
    return Joined(
        [
            Words(f"{name}img_", HEX, 10, max(1, int(keys * weight / sum(weights))), ".jpg")
            for name, weight in zip(names, weights, strict=True)
        ]
    )


def one_large_folder(keys: int) -> Layout:
    """99 % of the keys in one of 61 folders."""
    small = keys // 6000
    return Joined(
        [
            *(Words(f"album-{number:02}/", DIGITS, 8, small) for number in range(40)),
            Words("uploads/x/", HEX, 16, keys - 60 * small),
            *(Words(f"users/{number:02}/", DIGITS, 8, small) for number in range(20)),
        ]
    )


LAYOUTS: dict[str, Callable[[int], Layout]] = {
    "uniform": lambda keys: Words("", BASE62, 8, keys),
    "dates": lambda keys: days(keys, range(2019, 2027)),
    "one large folder": one_large_folder,
    "one large beginning": lambda keys: Joined(
        [
            Words("a", HEX, 8, keys // 200),
            Words("bulk-2024-", HEX, 16, keys - keys // 100),
            Words("c", HEX, 8, keys // 200),
        ]
    ),
    "hashed": lambda keys: Words("uploads/", HEX, 32, keys, "/original.jpg"),
    "numeric": lambda keys: Words("IMG_", DIGITS, 9, keys, ".jpg"),
    "unicode": lambda keys: Words("", SCRIPTS, 6, keys),
}


class AnswersLater(Generic[Q, A]):
    """Drives something that asks, in virtual time: each answer comes `latency_s` after its question."""

    def __init__(self, latency_s: float, at_once: int) -> None:
        self._latency_s, self._at_once = latency_s, at_once
        self.now_s = 0.0
        self.requests = 0

    def run(self, ask: Callable[[], Q | None], answer: Callable[[Q], A], take: Callable[[Q, A], None]) -> None:
        """Until nothing more is asked. What is answered is what was true when the answer was given."""
        coming: list[tuple[float, int, Q]] = []
        while True:
            while len(coming) < self._at_once and (question := ask()) is not None:
                self.requests += 1
                heapq.heappush(coming, (self.now_s + self._latency_s, self.requests, question))
            if not coming:
                return
            self.now_s, _, question = heapq.heappop(coming)
            take(question, answer(question))
