"""Small buckets of random layouts whose keys come and go while they are planned and listed."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator

from sniffer.core.key_ranges import KeyRange, key_bytes
from sniffer.shards.stores import FolderProbe, Probe
from support.virtual_bucket import Page

_ALPHABETS = ("ab", "0123456789", "0123456789abcdef", "aé\ue000😀", "a/", "a/b0", "\x00\x01~\udc80\udcff", "A-z/.")


def layout_by_chance(chance: random.Random) -> list[str]:
    """Keys of a few folders and beginnings, each with an alphabet and lengths of its own; without the empty key."""
    keys: set[str] = set()
    for _ in range(chance.randint(1, 4)):
        alphabet = chance.choice(_ALPHABETS)
        beginning = "".join(chance.choices(chance.choice(_ALPHABETS), k=chance.randint(0, 6)))
        longest = chance.randint(1, 7)
        for _ in range(chance.choice([0, 1, 5, 20, 80])):
            keys.add(beginning + "".join(chance.choices(alphabet, k=chance.randint(1, longest))))
    return sorted(keys, key=key_bytes)


class ChangingBucket:
    """Lists by pages of a few keys. Before each answer some keys may be deleted, and others written.

    `always` are the keys that were never deleted, `ever` all that were there at any time.
    """

    def __init__(self, keys: list[str], chance: random.Random) -> None:
        self._chance = chance
        self._page = chance.choice([1, 2, 3, 10])
        self._delimiter_works = chance.random() < 0.8
        self._keys = {key_bytes(key): key for key in keys}
        self._order = sorted(self._keys)
        self._pool = [*keys, *layout_by_chance(chance)]
        self._rate = chance.choice([0.0, 0.3, 2.0])
        self.always, self.ever = set(keys), set(keys)

    def answer(self, probe: Probe | FolderProbe) -> Page:
        """What is true at this moment."""
        self._change()
        return self.folders(probe.prefix) if isinstance(probe, FolderProbe) else self.keys_after("", probe.after)

    def keys_after(self, prefix: str, after: str) -> Page:
        """A page of the keys after that one."""
        assert not prefix
        start = bisect_right(self._order, key_bytes(after))
        end = start + self._page
        return Page([self._keys[key] for key in self._order[start:end]], end >= len(self._order))

    def folders(self, prefix: str) -> Page:
        """The folders with the prefix, or none when the store knows no delimiters."""
        inner = [self._keys[key] for key in self._order if self._keys[key].startswith(prefix)]
        ends = {key: key.find("/", len(prefix)) + 1 for key in inner}
        found = sorted({key[:end] for key, end in ends.items() if end}, key=key_bytes)
        return Page((), True, found if self._delimiter_works else ())

    def scan(self, keys: KeyRange) -> Iterator[str]:
        """The keys of a range, page by page from its beginning, as a scan lists them."""
        after = keys.after
        while True:
            page = self.answer(Probe(after))
            inside = [key for key in page.keys if not keys.ends_before(key)]
            yield from inside
            if page.is_last or len(inside) < len(page.keys):
                return
            after = page.keys[-1]

    def _change(self) -> None:
        times = int(self._rate) + (self._chance.random() < self._rate % 1)
        for _ in range(times if self._pool else 0):
            key = self._chance.choice(self._pool)
            raw = key_bytes(key)
            if raw in self._keys:
                del self._keys[raw]
                self.always.discard(key)
            else:
                self._keys[raw] = key
                self.ever.add(key)
            self._order = sorted(self._keys)
