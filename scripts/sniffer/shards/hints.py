"""Shards by a list of keys from elsewhere, of whatever age and truth: it says where to look, the store what is."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise, takewhile

from sniffer.core.key_ranges import LONGEST_BYTES, KeyRange, can_be_bound, key_bytes
from sniffer.shards.planner import PlannedShard
from sniffer.shards.planning import AT_ONCE, KeyStore, ShardPlan
from sniffer.shards.stores import UnsortedStore, check_page

SAMPLE = 100_000
"""Keys that are kept: 100 to a shard where there are 1,000, so that the sizes are exact to about a tenth."""
_SEED = 14


class KeyReservoir:
    """A sample of so many keys out of any number, each as likely to be in it (Li, "Reservoir-sampling algorithms of
    time complexity O(n(1 + log(N/n)))", 1994, algorithm L). The same keys in the same order give the same sample.
    """

    def __init__(self, size: int = SAMPLE) -> None:
        self._size = size
        self._chance = random.Random(_SEED)
        self._kept: list[bytes] = []
        self._weight = 1.0
        self._next = 0
        self.seen = 0
        """All keys that were offered."""

    def add(self, keys: Sequence[bytes]) -> None:
        """Offer some; only those that are kept are looked at."""
        taken = min(self._size - len(self._kept), len(keys))
        if taken:
            self._kept += [keys[at] for at in range(taken)]
            if len(self._kept) == self._size:
                self._next = self.seen + taken - 1
                self._skip()
        end = self.seen + len(keys)
        while len(self._kept) == self._size and self._next < end:
            self._kept[self._chance.randrange(self._size)] = keys[self._next - self.seen]
            self._skip()
        self.seen = end

    def _skip(self) -> None:
        self._weight *= math.exp(math.log(1 - self._chance.random()) / self._size)
        self._next += math.floor(math.log(1 - self._chance.random()) / math.log1p(-self._weight)) + 1

    def ordered(self) -> list[bytes]:
        """What was kept, in S3's order."""
        return sorted(self._kept)


@dataclass(frozen=True, slots=True)
class KeyHints:
    """Keys in order that stand for so many."""

    keys: Sequence[bytes]
    stand_for: int


def sample_keys(batches: Iterable[Sequence[bytes]], size: int = SAMPLE) -> KeyHints:
    """A sample of the keys; raises what the batches raise."""
    reservoir = KeyReservoir(size)
    for batch in batches:
        reservoir.add(batch)
    return KeyHints(reservoir.ordered(), reservoir.seen)


def plan_by_hints(store: KeyStore, prefix: str, hints: KeyHints, shards: int, at_once: int = AT_ONCE) -> ShardPlan:
    """So many shards of what is under the prefix, each with as many of the hints; fewer, and a warning, where the store
    has nothing between two of them.

    Each range ends at the first key that the store has after a hint, so that hints that are wrong make shards of
    unequal size, and no more. One shard and a warning when the store does not list in the order of keys. Raises what
    the store raises.
    """
    wanted = _quantiles(hints, shards)
    try:
        with ThreadPoolExecutor(at_once, "plan") as threads:
            found = list(threads.map(lambda one: _key_after(store, prefix, one[1]), wanted))
    except UnsortedStore as error:
        return ShardPlan((PlannedShard(KeyRange(), 0),), len(wanted), f"{error}: it is one shard")
    ends = [(0.0, "")]
    for (before, _), key in zip(wanted, found, strict=True):
        if key is not None and key_bytes(key) > key_bytes(ends[-1][1]):
            ends.append((before, key))
    planned = [PlannedShard(KeyRange(low, high), round(to - since)) for (since, low), (to, high) in pairwise(ends)]
    since, low = ends[-1]
    planned.append(PlannedShard(KeyRange(low), round(hints.stand_for - since)))
    warning = ""
    if len(planned) < shards:
        warning = (
            f"{len(planned)} shards in place of {shards}: the inventory's keys are too few, or the bucket has nothing "
            "between some of them"
        )
    return ShardPlan(tuple(planned), len(wanted), warning)


def _quantiles(hints: KeyHints, shards: int) -> list[tuple[float, str]]:
    """Places where to cut, in order, with the number of keys before each."""
    count = len(hints.keys)
    found: dict[str, float] = {}
    for number in range(1, shards):
        at = count * number // shards
        if 0 < at < count and (text := _askable(hints.keys[at - 1])):
            found.setdefault(text, hints.stand_for * at / count)
    return [(before, text) for text, before in found.items()]


def _askable(key: bytes) -> str:
    """The key as a request can hold it: up to where it is no printable text any more. It comes before the key."""
    text = key[:LONGEST_BYTES].decode(errors="replace").partition("\ufffd")[0]
    return "".join(takewhile(str.isprintable, text))


def _key_after(store: KeyStore, prefix: str, after: str) -> str | None:
    """The first key behind it at which a range can end; None when the store has none, or none behind that."""
    page = store.keys_after(prefix, after)
    check_page(key_bytes(after), page.keys)
    for at, key in enumerate(page.keys):
        if can_be_bound(key):
            return None if page.is_last and at == len(page.keys) - 1 else key
    return None
