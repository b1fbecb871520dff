"""What a sample of a bucket's keys says about where the others are: character by character, of whatever alphabets."""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sniffer.core.key_ranges import key_bytes

_CONTEXT_KEYS = 40
"""Sampled keys that must begin alike, so that they alone tell what follows."""
_MOST_KEYS = 300
"""Of more than that, so many are looked at."""
_WIDER = 2
"""A shorter beginning is looked at when so many times as many keys have it."""
_STALE = 1.05
"""What was learnt from a sample is used until it has grown by so much."""
_FEWEST_ALIKE, _FEWEST_SEEN, _TIMES_SEEN, _UNSEEN = 4, 24, 3, 0.05
"""The characters seen at a place are all that it can have when so many keys show the same one; or so many show several,
each so often in the mean, and no larger share of them has one that no other has: an estimate of how likely the next key
has a new one (Good, "The population frequencies of species and the estimation of population parameters", 1953)."""
_END = -1
"""In place of a character: the key ends here."""
_LOWEST, _HIGHEST, _SURROGATES = 0x20, 0x10FFFF, range(0xD800, 0xE000)
LAST = chr(_HIGHEST)
_FINEST = 1e-13
_FINE = 1e-4
"""The part of the distance between two keys that a point between them is exact to."""
_EXPLORED, _OF_ELSEWHERE = 0.2, 0.6
"""The share of points in which a character is tried that no key was seen with there, and of those the share that tries
one that keys have at other places."""
_PLACES, _DEEPEST = 64, 3
"""How many places are looked at, and in which of the first such a character is tried."""
_NOWHERE = 1 << 20


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers for the keys that begin with `prefix`: as if each next character were one of its place's symbols, each as
    likely. Keys before those are 0, keys after them 1.
    """

    prefix: str
    symbols: Sequence[Sequence[int]]
    is_known: Sequence[bool]
    """Whether all symbols of a place were seen, as far as one can tell."""

    def value(self, key: str) -> float:
        """The share of those keys that would come before this one."""
        if not key.startswith(self.prefix):
            return 0.0 if key < self.prefix else 1.0
        value, unit = 0.0, 1.0
        for place, symbols in enumerate(self.symbols, len(self.prefix)):
            symbol = ord(key[place]) if place < len(key) else _END
            at = bisect_left(symbols, symbol)
            unit /= len(symbols)
            value += at * unit
            if symbol == _END or at == len(symbols) or symbols[at] != symbol:
                break
        return value

    def key(self, value: float, exactness: float) -> str:
        """The beginning of a key with that value, as long as it must be to be so exact."""
        found = [self.prefix]
        unit = 1.0
        for symbols in self.symbols:
            value *= len(symbols)
            at = min(max(int(value), 0), len(symbols) - 1)
            if symbols[at] == _END:
                break
            found.append(chr(symbols[at]))
            value -= at
            unit /= len(symbols)
            if unit < exactness:
                break
        return "".join(found)


@dataclass(frozen=True, slots=True, order=True)
class _Known:
    """A key, and at which of its places its character is as good as chosen by chance: from `first` on but before
    `last`, and from `deep` on. Elsewhere it is only what came next."""

    key: str
    first: int = 0
    last: int = 0
    deep: int = _NOWHERE

    def shows(self, place: int) -> bool:
        return self.first <= place < self.last or place >= self.deep


@dataclass(frozen=True, slots=True)
class _Beginning:
    """What was known of the keys with that beginning when so many keys were: characters of any place, and of each."""

    sampled: int
    pool: set[int]
    scale: Scale


class KeySample:
    """Keys that are known to be there, all with the prefix `root`, as plain text. `chance` makes its choices.

    `first` are all the symbols that can be in the first place, where they are known beforehand.
    """

    def __init__(self, chance: random.Random, root: str = "", first: Sequence[int] = ()) -> None:
        self._chance = chance
        self._first = first
        self._root = root
        self._keys: list[_Known] = []
        self._neighbours: list[_Known] = []
        self._beginnings: dict[str, _Beginning] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, asked: str, page: Sequence[str]) -> None:
        """Take in some keys that a page has, the first and the last among them, and after what it was asked for."""
        alike = len(common_prefix(page[0], page[-1]))
        chosen = len(common_prefix(asked, page[0]))
        insort(self._keys, _Known(page[len(page) // 2], 0, chosen + (chosen < len(asked)), alike + 1))
        for key in page:
            insort(self._neighbours, _Known(key))

    def add_lone_child(self, key: str, first: int, last: int) -> None:
        """From its place `first` on, but before `last`, that key has the only character that is there."""
        insort(self._keys, _Known(key, first, last))

    def scale(self, low: str, high: str | None, *, trusts: bool = False) -> Scale:
        """A scale for the keys between these two; None as `high`: for all that come after.

        Where not all characters of a place are known, any that the keys have may be there. `trusts`: so it is in the
        first place, too, which is otherwise taken to have more than is known.
        """
        if high is not None and low >= high:
            return Scale(low, (), ())
        shared = self._shared(low, high)
        beginning = self._beginnings.get(shared)
        if beginning is None or len(self) > _STALE * beginning.sampled:
            beginning = self._beginnings[shared] = self._learn(shared)
        scale = beginning.scale
        if not scale.symbols:
            return scale
        # No sampled key is between the two, so that a character that is there alone can only be known from elsewhere.
        first = len(shared)
        bottom, top = _symbol(low, first), _HIGHEST + 1 if high is None else ord(high[first])
        other = () if trusts and scale.is_known[0] else (one for one in beginning.pool if bottom < one <= top)
        symbols: list[Sequence[int]] = [sorted({bottom, *scale.symbols[0], *other})]
        for place, seen in enumerate(scale.symbols[1:], first + 1):
            symbol = _symbol(low, place)
            symbols.append(seen if place > len(low) or symbol in seen else sorted([*seen, symbol]))
        return replace(scale, symbols=symbols)

    def _learn(self, shared: str) -> _Beginning:
        start = max(len(shared), 1) if self._first else len(shared)
        pool, contexts = self._contexts(shared, start)
        symbols: list[list[int]] = []
        known: list[bool] = []
        unit = 1.0
        for place in range(len(shared), len(shared) + _PLACES):
            seen, is_known = _symbols_at(place, contexts)
            if self._first and not place:
                seen, is_known = seen.union(self._first), True
            if not is_known:
                seen |= pool | {_symbol(one.key, place) for one in contexts[0] if len(one.key) >= place}
            if not seen or seen == {_END}:
                break
            symbols.append(sorted(seen))
            known.append(is_known)
            unit /= len(seen)
            if unit < _FINEST:
                break
        return _Beginning(len(self), pool, Scale(shared, tuple(symbols), tuple(known)))

    def _contexts(self, shared: str, start: int) -> tuple[set[int], list[list[_Known]]]:
        """The characters that keys with the beginning have from a place on; and those keys, then more with a shorter
        beginning, as far as they are of the same kind: with all of these characters.
        """
        narrow, *wider = _beginnings(self._neighbours, shared)
        own = _span(self._neighbours, narrow)
        pool = _characters(_thinned(self._neighbours[own]), start)
        contexts = [_thinned(self._keys[_span(self._keys, narrow)])]
        for beginning in wider:
            span = _span(self._neighbours, beginning)
            others = [*self._neighbours[span.start : own.start], *self._neighbours[own.stop : span.stop]]
            if pool <= _characters(_thinned(others), start):
                contexts.append(_thinned(self._keys[_span(self._keys, beginning)]))
        return pool, contexts

    def between(self, low: str, high: str | None, part: float) -> str | None:
        """A text that is after the one and before the other, so far from the first as `part` says, from 0 to 1.

        None when there is none, or none was found.
        """
        if high is not None and low >= high:
            return None
        scale = self.scale(low, high)
        start, end = scale.value(low), 1.0 if high is None else scale.value(high)
        point = scale.key(start + (end - start) * part, (end - start) * _FINE)
        points = [point, _middle(low, high, scale.prefix)]
        if not scale.symbols or self._chance.random() < _EXPLORED:
            points.insert(0, self._unseen(scale, point))
        return next((one for one in points if is_between(low, one, high)), None)

    def _shared(self, low: str, high: str | None) -> str:
        return self._root if high is None else common_prefix(low, high)

    def _unseen(self, scale: Scale, point: str) -> str:
        """Instead of one of the point's first characters another: one that keys have elsewhere, or that none has."""
        depth = self._chance.randrange(min(_DEEPEST, len(scale.symbols)) or 1)
        place = len(scale.prefix) + depth
        pool = sorted(self._beginnings[scale.prefix].pool) if self._chance.random() < _OF_ELSEWHERE else []
        if pool and place:
            return point[:place] + chr(self._chance.choice(pool))
        symbols = scale.symbols[depth] if depth < len(scale.symbols) else []
        at = ord(point[place]) if place < len(point) else _LOWEST
        above = next((symbol for symbol in symbols if symbol > at), _HIGHEST + 1)
        if above - at < 2:
            return point
        # Most alphabets are short: near ones are likelier than those far away.
        character = at + max(1, int((above - at) ** self._chance.random()))
        return point[:place] + _character(min(character, above - 1))


def beyond(low: str, length: int, high: str | None) -> str | None:
    """A text after all keys that begin with so much of `low`; None when it is not before `high`."""
    text = low[:length] + LAST
    return text if is_between(low, text, high) else None


def is_between(low: str, text: str, high: str | None) -> bool:
    """Whether the text is after the one and before the other; None: there is no end."""
    return key_bytes(low) < key_bytes(text) and (high is None or key_bytes(text) < key_bytes(high))


def common_prefix(one: str, other: str) -> str:
    """What both begin with."""
    length = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:length]


def plain_text(key: str) -> str:
    """The key without what is no text: of bytes that are no UTF-8, only the place in the order is kept, about."""
    return key if key.isascii() else key.encode(errors="surrogateescape").decode(errors="replace")


def _symbol(key: str, place: int) -> int:
    return ord(key[place]) if place < len(key) else _END


def _is_all(shown: Counter[int]) -> bool:
    """Whether no other character is likely, by how often each was shown."""
    total = shown.total()
    if len(shown) == 1:
        return total >= _FEWEST_ALIKE
    if total < max(_FEWEST_SEEN, _TIMES_SEEN * len(shown)):
        return False
    return sum(times == 1 for times in shown.values()) <= _UNSEEN * total


def _symbols_at(place: int, contexts: Sequence[Sequence[_Known]]) -> tuple[set[int], bool]:
    """The symbols shown at a place, and whether they are all: by the first of the contexts that says so.

    Where none does, those of the first alone: keys of other kinds may have any.
    """
    seen: set[int] = set()
    nearest: set[int] = set()
    for context in contexts:
        shown = Counter(_symbol(one.key, place) for one in context if one.shows(place) and len(one.key) >= place)
        seen |= shown.keys()
        nearest = nearest or set(seen)
        if _is_all(shown):
            return seen, True
    return nearest, False


def _beginnings(keys: list[_Known], shared: str) -> list[str]:
    """The longest beginning of `shared` that enough of the keys have, shorter ones that far more have, and none."""
    found, enough = [], _CONTEXT_KEYS
    for length in range(len(shared), -1, -1):
        span = _span(keys, shared[:length])
        if span.stop - span.start >= enough or not length:
            found.append(shared[:length])
            enough = _WIDER * (span.stop - span.start)
    return found


def _span(keys: list[_Known], beginning: str) -> slice:
    end = bisect_left(keys, _Known(beginning + LAST)) if beginning else len(keys)
    return slice(bisect_left(keys, _Known(beginning)), end)


def _thinned(keys: list[_Known]) -> list[_Known]:
    return keys[:: max(1, len(keys) // _MOST_KEYS)]


def _characters(keys: list[_Known], start: int) -> set[int]:
    return {ord(character) for one in keys for character in one.key[start:]}


def _middle(low: str, high: str | None, shared: str) -> str:
    """Text between the two, halfway in the first character that leaves room for it."""
    place = len(shared)
    bottom = ord(low[place]) if place < len(low) else _LOWEST - 1
    top = ord(high[place]) if high is not None else _HIGHEST + 1
    while top - bottom < 2 and place < len(low):
        place += 1
        bottom, top = ord(low[place]) if place < len(low) else _LOWEST - 1, _HIGHEST + 1
    step = (top - bottom) // 2 if top <= _HIGHEST else int((top - bottom) ** 0.5)
    return low[:place] + _character(bottom + max(step, 1))


def _character(code: int) -> str:
    return chr(_SURROGATES.stop if code in _SURROGATES else min(code, _HIGHEST))
