"""Cuts a bucket into ranges of about as many keys each, by sampling it. Decides only: whoever drives it asks the store.

Where the keys seem most numerous it looks next, so that what proves dense is split, until the questions are used up.
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

from sniffer.core.key_ranges import KeyRange, can_be_bound, key_bytes
from sniffer.shards.folders import FolderCode, FolderTree
from sniffer.shards.keyspace import KeySample
from sniffer.shards.stores import FolderPage, FolderProbe, KeyPage, Probe, check_page, halves
from sniffer.shards.survey import Gap, KeySurvey

PROBES_A_SHARD, MORE_PROBES = 4, 195
"""So many questions are asked, at most."""
_FINENESS = 16
"""No gap is looked into that has less than this part of a shard."""
_ATTEMPTS = 4
_AT_ONCE, _ROUNDS = 8, 64
"""What is asked at the same time does not know of one another: so many questions, or that part of all of them."""
_REFRESH = 1.5
_CUTS_A_PAGE = 4
_THIN = 3
"""What has less than this part of a shard goes to the one behind it."""
_SEED = 14


@dataclass(frozen=True, slots=True)
class PlannedShard:
    """A range, and about how many keys it has."""

    range: KeyRange
    keys: int


class Planner:
    """Plans so many shards of what is under the prefix. `next` gives questions, `take` takes their answers in."""

    def __init__(self, shards: int, prefix: str = "") -> None:
        self._shards = shards
        self._chance = random.Random(_SEED)
        self._prefix = prefix
        self._tree = FolderTree(prefix)
        self._survey = self._new_survey()
        self._left = PROBES_A_SHARD * shards + MORE_PROBES
        self._asked: list[bytes] = []
        self._queue: list[tuple[float, int, Gap]] = []
        self._stalled: list[Gap] = []
        self._at_once = max(_AT_ONCE, self._left // _ROUNDS)
        self._numbered = 0
        self._refreshed = 0

    @property
    def waits(self) -> int:
        """How many questions have no answer yet."""
        return len(self._asked)

    def _new_survey(self) -> KeySurvey:
        code = FolderCode(self._tree.folders())
        sample = KeySample(self._chance, "" if code.symbols else self._prefix, code.symbols)
        return KeySurvey(sample, code, looks_at_ends=True)

    def next(self) -> Probe | FolderProbe | None:
        """The next question; None when there is none before an answer comes, or at all."""
        if not self._tree.is_finished:
            folder = self._tree.next()
            self._left -= folder is not None
            return folder
        if not self._survey.stretches:
            return None if self._asked else self._ask("")
        while self._left > 0 and self._queue and len(self._asked) < self._at_once:
            _, _, gap = heapq.heappop(self._queue)
            if gap.is_closed:
                continue
            pending = self._pending(gap)
            if gap.is_measured and gap.keys / (pending + 1) < self._survey.total / (self._shards * _FINENESS):
                self._push(gap, pending)
                return None
            after = self._place(gap, pending)
            if after is not None:
                self._push(gap, pending + 1)
                return self._ask(after)
            if pending:
                self._stalled.append(gap)
        return None

    def _place(self, gap: Gap, pending: int) -> str | None:
        """Where to look into the gap, other than where answers are still to come from."""
        for attempt in range(_ATTEMPTS):
            part = halves(pending + attempt) + self._chance.uniform(-0.25, 0.25) / (pending + attempt + 1)
            after = self._survey.point(gap, part)
            if after is not None and key_bytes(after) not in self._asked:
                return after
        return None

    def take(self, probe: Probe | FolderProbe, page: KeyPage | FolderPage) -> None:
        """The answer to a question; raises UnsortedStore when it is none."""
        if isinstance(probe, FolderProbe):
            self._take_folders(probe, cast(FolderPage, page))
        else:
            self._take_keys(probe, cast(KeyPage, page))

    def _take_folders(self, probe: FolderProbe, page: FolderPage) -> None:
        self._tree.take(probe, page)
        if self._tree.is_finished:
            self._survey = self._new_survey()

    def _take_keys(self, probe: Probe, page: KeyPage) -> None:
        start = key_bytes(probe.after)
        check_page(start, page.keys)
        self._asked.remove(start)
        for gap in self._survey.add(probe.after, page.keys, is_last=page.is_last):
            self._survey.measure(gap)
            self._push(gap, self._pending(gap))
        while self._stalled:
            gap = self._stalled.pop()
            self._push(gap, self._pending(gap))
        if len(self._survey.sample) > _REFRESH * self._refreshed:
            self._refresh()

    def plan(self) -> list[PlannedShard]:
        """The shards: ranges that tile all keys, at most as many as wanted."""
        for gap in self._survey.gaps():
            self._survey.measure(gap, is_last=True)
        cuts, total = list(self._cuts()), self._survey.total
        places = [before for before, _ in cuts]
        ends = [(0.0, "")]
        for number in range(1, self._shards):
            wanted = total * number / self._shards
            at = bisect_left(places, wanted)
            if at == len(cuts) or (at and wanted - places[at - 1] < places[at] - wanted):
                at -= 1
            # Two ends of a page, before and behind which much is: what is between them alone is no shard.
            if at >= 0 and cuts[at][0] - ends[-1][0] > total / self._shards / _THIN:
                ends.append(cuts[at])
        shards = [PlannedShard(KeyRange(low, high), round(to - since)) for (since, low), (to, high) in pairwise(ends)]
        since, low = ends[-1]
        return [*shards, PlannedShard(KeyRange(low), round(total - since))]

    def _ask(self, after: str) -> Probe:
        self._left -= 1
        insort(self._asked, key_bytes(after))
        return Probe(after)

    def _pending(self, gap: Gap) -> int:
        end = len(self._asked) if gap.high is None else bisect_left(self._asked, key_bytes(gap.high))
        return max(0, end - bisect_right(self._asked, key_bytes(gap.low)))

    def _push(self, gap: Gap, pending: int) -> None:
        self._numbered += 1
        keys = gap.keys if gap.is_measured else self._survey.total / 4 + 1
        heapq.heappush(self._queue, (-keys / (pending + 1), self._numbered, gap))

    def _refresh(self) -> None:
        self._refreshed = len(self._survey.sample)
        self._queue.clear()
        for gap in self._survey.gaps():
            self._survey.measure(gap)
            self._push(gap, self._pending(gap))

    def _cuts(self) -> Iterator[tuple[float, str]]:
        """Keys where a range can end, with the number of keys up to there."""
        before = 0.0
        for stretch in self._survey.stretches:
            places = {stretch.count * part // _CUTS_A_PAGE for part in range(_CUTS_A_PAGE)} | {stretch.count - 1}
            for at in sorted(places):
                is_last = stretch.end is None and at == stretch.count - 1
                if 0 <= at < stretch.count and not is_last and can_be_bound(stretch.keys[at]):
                    yield before + at + 1, stretch.keys[at]
            before += stretch.count
            if stretch.gap is not None:
                before += stretch.gap.keys
