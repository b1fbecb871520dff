"""What pages have shown of a bucket: stretches whose keys are known, and gaps between them with their likely size."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from sniffer.core.key_ranges import key_bytes
from sniffer.shards.folders import FolderCode
from sniffer.shards.keyspace import LAST, KeySample, Scale, beyond, common_prefix, is_between, plain_text

_FEWEST = 8
"""Keys that a density can be measured by."""
_NEIGHBOURS = 5
"""Keys of a page that are kept, besides its last."""
_RESOLVED = 4
"""So many characters before the first that differs in a page, a scale begins that can tell its keys apart."""
_DOUBTFUL = 3
"""Densities that differ by more than so many times."""
_ENDS = 0.33
"""The share of places that are the end of all that begins alike, while it is not known what else there is."""


@dataclass(slots=True, eq=False)
class Gap:
    """What lies between two stretches: keys after `low`, and not after `high`; None: to the end."""

    low: str
    high: str | None
    left: Stretch
    right: Stretch | None
    keys: float = 0.0
    near_low: float = 0.0
    near_high: float = 0.0
    """Of its keys those that begin as its lowest does, and as its highest; 0: not known apart."""
    is_measured: bool = False
    """Whether there is anything to estimate its keys by."""
    listed: int = 0
    """Keys that were in it until it was listed as far as it is."""
    is_closed: bool = False
    """Whether it has been looked into since, so that other gaps are in its place."""


@dataclass(slots=True, eq=False)
class Stretch:
    """The first `count` of these keys are all that there are after `start`, and not after `end`; None: to the end."""

    start: str
    end: str | None
    keys: Sequence[str]
    count: int
    code: FolderCode
    gap: Gap | None = None

    def written(self, at: int) -> str:
        """A key as the sample has it."""
        return self.code.encode(plain_text(self.keys[at]))

    def density(self, scale: Scale) -> float | None:
        """Keys to a unit of that scale, by those that begin as it says; None when they are too few to say."""
        if self.count < _FEWEST:
            return None
        first = self._first(lambda key: key >= scale.prefix)
        last = self._first(lambda key: key > scale.prefix and not key.startswith(scale.prefix)) - 1
        if last - first < _FEWEST:
            return None
        width = scale.value(self.written(last)) - scale.value(self.written(first))
        return (last - first) / width if width > 0 else None

    def alike(self) -> int:
        """So many characters do all of its keys begin with."""
        return len(common_prefix(self.written(0), self.written(self.count - 1)))

    def _first(self, is_so: Callable[[str], bool]) -> int:
        return bisect_left(range(self.count), True, key=lambda at: is_so(self.written(at)))


@dataclass(slots=True)
class KeySurvey:
    """Stretches in the order of keys. The first is that from the beginning on."""

    sample: KeySample
    code: FolderCode
    stretches: list[Stretch] = field(default_factory=list)
    total: float = 0.0
    """All keys, known and estimated."""
    looks_at_ends: bool = False
    """Whether what begins as a gap's ends do is measured apart: more exact, and some times as much to compute."""
    _starts: list[bytes] = field(default_factory=list)

    def add(self, after: str, keys: Sequence[str], *, is_last: bool) -> list[Gap]:
        """Take in a page; returns the gaps that are new."""
        start = key_bytes(after)
        at = bisect_right(self._starts, start)
        before = self.stretches[at - 1] if at else None
        behind = self.stretches[at] if at < len(self.stretches) else None
        if before is not None and (before.gap is None or start < key_bytes(before.gap.low)):
            return []
        self._learn(after, keys, before)
        count = len(keys) if behind is None else bisect_right(keys, key_bytes(behind.start), key=key_bytes)
        if behind is not None and (is_last or count < len(keys)):
            end: str | None = behind.start
        else:
            end = None if is_last else keys[-1] if keys else after
        stretch = Stretch(after, end, keys, count, self.code)
        self.total += count
        self.stretches.insert(at, stretch)
        self._starts.insert(at, start)
        return list(self._gaps_around(before, stretch, behind))

    def extend(self, after: str, keys: Sequence[str], *, is_last: bool) -> tuple[Sequence[str], Gap | None] | None:
        """Take in the page that comes next in a gap, in place of the one before it; returns its keys in the gap, and
        what is left of the gap. None when there is no gap any more that begins there.
        """
        at = bisect_right(self._starts, key_bytes(after))
        before = self.stretches[at - 1]
        gap = before.gap
        if gap is None or gap.low != after:
            return None
        behind = self.stretches[at] if at < len(self.stretches) else None
        count = len(keys) if behind is None else bisect_right(keys, key_bytes(behind.start), key=key_bytes)
        self.total += count
        is_closed = is_last or count < len(keys) or (behind is not None and bool(keys) and keys[-1] == behind.start)
        if is_closed:
            self.total -= gap.keys
            gap.is_closed, before.gap = True, None
            before.end = None if behind is None else behind.start
        else:
            less = min(gap.keys, count)
            gap.keys -= less
            self.total -= less
            gap.low = before.end = keys[-1] if keys else after
            gap.listed += count
        if count:
            before.keys, before.count = keys, count
        return keys[:count], None if is_closed else gap

    def added(self, start: bytes, keys: Sequence[str]) -> Sequence[str]:
        """Those of a page's keys that were new, right after it was added."""
        at = bisect_left(self._starts, start)
        found = self.stretches[at] if at < len(self._starts) and self._starts[at] == start else None
        return found.keys[: found.count] if found is not None and found.keys is keys else ()

    def gaps(self) -> Iterator[Gap]:
        """All of them, in order."""
        return (stretch.gap for stretch in self.stretches if stretch.gap is not None)

    def measure(self, gap: Gap, *, is_last: bool = False) -> None:
        """Estimate its keys anew, by how dense they are on both sides.

        The last estimate is the likeliest. Those before say where to look: they take the mean of both sides for all of
        it, so that a sparse side does not hide a dense one whose alphabet is not known yet.
        """
        scale, low, high = self._scale(gap)
        left = gap.left.density(scale)
        narrow = None
        if left is None and gap.left.count >= _FEWEST:
            # Its keys are too close to each other for this scale: what begins as most of them do is counted alone.
            narrow = beyond(low, max(len(scale.prefix), gap.left.alike() - _RESOLVED), high)
        if narrow is not None:
            scale, high = self.sample.scale(low, narrow), narrow
            left = gap.left.density(scale)
        right = self._density_behind(gap, scale)
        before = gap.keys
        gap.is_measured = bool(left or right)
        keys = _between(scale, low, high, left, right, is_last=is_last) if gap.is_measured else 0.0
        gap.near_low = gap.near_high = 0.0
        if self.looks_at_ends and gap.is_measured and narrow is None:
            keys = self._by_beginnings(gap, scale, low, high, left, right, keys, is_last=is_last)
        if is_last and gap.is_measured:
            keys = self._with_known_characters(gap, keys)
        gap.keys = max(keys, 1.0) if gap.is_measured else 0.0
        self.total += gap.keys - before

    def _by_beginnings(
        self,
        gap: Gap,
        scale: Scale,
        low: str,
        high: str | None,
        left: float | None,
        right: float | None,
        keys: float,
        *,
        is_last: bool,
    ) -> float:
        """The gap's keys, where what begins as its ends do is measured by a scale of its own: other keys, other
        alphabets. `keys` are those by the scale of both.
        """
        place = len(scale.prefix) + 1
        rest_low, rest_high, near_low, near_high = low, high, None, None
        if len(low) >= place and (end := beyond(low, place, high)) is not None:
            near_low = self._near(low, end, gap.left)
            rest_low = end if near_low is not None else low
        if (
            high is not None
            and gap.right is not None
            and len(high) > place
            and is_between(rest_low, high[:place], high)
        ):
            near_high = self._near(high[:place], high, gap.right)
            rest_high = high[:place] if near_high is not None else high
        if near_low is None and near_high is None:
            return keys
        gap.near_low, gap.near_high = near_low or 0.0, near_high or 0.0
        rest = 0.0
        if rest_high is None or key_bytes(rest_low) < key_bytes(rest_high):
            rest = _between(scale, rest_low, rest_high, left, right, is_last=is_last)
        found = gap.near_low + rest + gap.near_high
        if max(found, keys) <= _DOUBTFUL * min(found, keys):
            # Both agree: then the scale of all has seen more, and its places are as good.
            gap.near_low = gap.near_high = 0.0
            return keys
        return found if is_last else max(found, keys)

    def _with_known_characters(self, gap: Gap, keys: float) -> float:
        """The mean of that estimate and of one by only those characters that were seen at each place, as ratios go:
        the first takes an alphabet to be larger than it is, the second smaller.
        """
        low, high = self._write(gap.low), None if gap.high is None else self._write(gap.high)
        scale = self.sample.scale(low, high, trusts=True)
        left, right = gap.left.density(scale), self._density_behind(gap, scale)
        known = _between(scale, low, high, left, right, is_last=True) if left or right else 0.0
        return math.sqrt(keys * known) if known > 0 else keys

    def _near(self, low: str, high: str, stretch: Stretch) -> float | None:
        """Keys between the two, by how dense the stretch beside them is; None when it does not say."""
        scale = self.sample.scale(low, high, trusts=True)
        density = stretch.density(scale)
        return None if density is None else (scale.value(high) - scale.value(low)) * density

    def point(self, gap: Gap, part: float) -> str | None:
        """Where to look into it, so far from its beginning as `part` says; None when there is no place."""
        scale, low, high = self._scale(gap)
        place = len(scale.prefix) + 1
        if gap.near_low and (end := beyond(low, place, high)) is not None:
            share = min(gap.near_low / gap.keys, 1.0)
            if part < share:
                return self._checked(gap, self.sample.between(low, end, part / share))
        if gap.near_high and high is not None:
            share = min(gap.near_high / gap.keys, 1.0)
            if part > 1 - share:
                return self._checked(gap, self.sample.between(high[:place], high, 1 - (1 - part) / share))
        if (unknown := _unknown_places(gap, scale)) and (not gap.is_measured or part * 3 % 1 < _ENDS):
            found = beyond(low, unknown[int(part * len(unknown))], high)
            if found is not None and (text := self._checked(gap, found)) is not None:
                return text
        return self._checked(gap, self.sample.between(low, high, part))

    def _checked(self, gap: Gap, written: str | None) -> str | None:
        text = None if written is None else self.code.decode(written)
        return text if text is not None and is_between(gap.low, text, gap.high) else None

    def _density_behind(self, gap: Gap, scale: Scale) -> float | None:
        """That of the keys behind the gap; 0 when nothing is there for a while."""
        behind = gap.right
        if behind is None:
            return None
        if behind.count and behind.written(0).startswith(scale.prefix):
            return behind.density(scale)
        # Nothing, from where the gap ends: that is no news of what is in it where all known characters come before.
        return None if gap.high is None or scale.value(self._write(gap.high)) >= 1.0 else 0.0

    def _scale(self, gap: Gap) -> tuple[Scale, str, str | None]:
        low, high = self._write(gap.low), None if gap.high is None else self._write(gap.high)
        return self.sample.scale(low, high), low, high

    def _write(self, key: str) -> str:
        return self.code.encode(plain_text(key))

    def _learn(self, after: str, keys: Sequence[str], before: Stretch | None) -> None:
        after = self._write(after)
        if keys:
            count = len(keys)
            near = {0, count - 1, *(count * part // _NEIGHBOURS for part in range(_NEIGHBOURS))}
            self.sample.add(after, [self._write(keys[at]) for at in sorted(near)])
        if before is None or not before.count:
            return
        # Where it was asked for what is beyond a known beginning, this may be all that there is.
        low = before.written(before.count - 1)
        known = len(common_prefix(low, after))
        shared = len(common_prefix(after, self._write(keys[0]))) if keys else 0
        if shared + 1 < known and after[known:] == LAST:
            self.sample.add_lone_child(low, shared + 1, known)

    def _gaps_around(self, before: Stretch | None, stretch: Stretch, behind: Stretch | None) -> Iterator[Gap]:
        if before is not None and before.gap is not None:
            before.gap.is_closed = True
            self.total -= before.gap.keys
            low = before.gap.low
            before.gap = None
            if key_bytes(low) < key_bytes(stretch.start):
                before.gap = Gap(low, stretch.start, before, stretch)
                yield before.gap
        high = behind.start if behind is not None else None
        if stretch.end is not None and (high is None or key_bytes(stretch.end) < key_bytes(high)):
            stretch.gap = Gap(stretch.end, high, stretch, behind)
            yield stretch.gap


def _between(
    scale: Scale, low: str, high: str | None, left: float | None, right: float | None, *, is_last: bool
) -> float:
    """Keys between two, by how dense they are at both.

    In the last estimate each density is that of what begins as its key does, and their mean that of what is between.
    Where they differ much, it is the harmonic mean: with few characters seen of an alphabet a density is far too high.
    """
    left, right = right if left is None else left, left if right is None else right
    if left is None or right is None:
        return 0.0
    start, end = scale.value(low), 1.0 if high is None else scale.value(high)
    place = len(scale.prefix) + 1
    low_end = min(scale.value(low[:place] + LAST), end) if is_last and len(low) >= place else start
    high_start = max(scale.value(high[:place]), low_end) if is_last and high is not None else end
    is_doubtful = is_last and 0 < _DOUBTFUL * min(left, right) < max(left, right)
    middle = 2 * left * right / (left + right) if is_doubtful else (left + right) / 2
    return (low_end - start) * left + (high_start - low_end) * middle + (end - high_start) * right


def _unknown_places(gap: Gap, scale: Scale) -> list[int]:
    """Places of the gap's lowest key at which nobody knows what else there can be: its neighbours are alike there."""
    if gap.left.count < 2:
        return []
    low = gap.left.code.encode(plain_text(gap.low))
    alike = len(common_prefix(gap.left.written(0), low))
    start = len(scale.prefix)
    known = [*scale.is_known, *([False] * max(0, alike - start - len(scale.is_known)))]
    return [place for place in range(start + 1, alike) if not known[place - start]]
