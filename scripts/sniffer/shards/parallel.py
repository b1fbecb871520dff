"""Lists a bucket by many requests at once, without knowing its keys: who is free takes a part of the largest rest.

Decides only: whoever drives it asks the store. Every page counts, also those that show where keys are.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from typing import cast

from sniffer.core.key_ranges import key_bytes
from sniffer.shards.folders import FolderCode, FolderTree
from sniffer.shards.keyspace import KeySample
from sniffer.shards.stores import FolderPage, FolderProbe, KeyPage, Probe, check_page, halves
from sniffer.shards.survey import Gap, KeySurvey

LEAST_KEYS = 3000
"""Three pages: of less, another request would save nothing."""
_UNKNOWN_KEYS = 1e6
"""What a rest is taken to have of which nothing is known."""
_STALE, _LONGER = 0.8, 2
"""A rest that has become smaller by so much since it was looked at waits its turn anew; one from which so many times as
many keys were listed is looked at again."""
_MOST_PENDING = 16
"""Places in a rest that may be asked for at the same time."""
_ATTEMPTS = 4
_SEED = 14


class ParallelListing:
    """Lists what is under the prefix; a rest with fewer than `least_keys` is left to the one that lists it.

    `next` gives questions, `take` gives the keys of an answer that are new.

    Each key that is there all the time is given exactly once, in no order. It ends when `next` gives none and no
    answer is awaited.
    """

    def __init__(self, prefix: str = "", *, least_keys: int = LEAST_KEYS) -> None:
        self._prefix = prefix
        self._least_keys = least_keys
        self._chance = random.Random(_SEED)
        self._tree = FolderTree(prefix)
        self._survey: KeySurvey | None = None
        self._asked: set[bytes] = set()
        self._splits: dict[bytes, Gap] = {}
        self._pending: dict[Gap, int] = {}
        self._idle: list[Gap] = []
        self._largest: list[tuple[float, int, Gap]] = []
        self._stalled: list[Gap] = []
        self._lasted: dict[Gap, int] = {}
        self._numbered = 0

    def next(self) -> Probe | FolderProbe | None:
        """The next question; None when there is none before an answer comes, or at all."""
        if not self._tree.is_finished:
            return self._tree.next()
        if self._survey is None:
            code = FolderCode(self._tree.folders())
            sample = KeySample(self._chance, "" if code.symbols else self._prefix, code.symbols)
            self._survey = KeySurvey(sample, code)
            return self._ask("")
        while self._idle:
            gap = self._idle.pop()
            if not gap.is_closed and key_bytes(gap.low) not in self._asked:
                return self._ask(gap.low)
        return self._split(self._survey)

    def take(self, probe: Probe | FolderProbe, page: KeyPage | FolderPage) -> Sequence[str]:
        """The answer to a question; returns its keys that no answer before had. UnsortedStore when it is none."""
        if isinstance(probe, FolderProbe):
            self._tree.take(probe, cast(FolderPage, page))
            return ()
        answer = cast(KeyPage, page)
        start = key_bytes(probe.after)
        check_page(start, answer.keys)
        self._asked.discard(start)
        survey = self._survey
        if survey is None:
            raise RuntimeError("an answer without a question")
        while self._stalled:
            self._push(self._stalled.pop())
        split = self._splits.pop(start, None)
        if split is not None:
            self._pending[split] -= 1
        if survey.stretches and split is None:
            return self._take_next(survey, probe.after, answer)
        gaps = survey.add(probe.after, answer.keys, is_last=answer.is_last)
        for gap in gaps:
            survey.measure(gap)
            self._idle.append(gap)
            self._push(gap)
        return survey.added(start, answer.keys)

    def _take_next(self, survey: KeySurvey, after: str, page: KeyPage) -> Sequence[str]:
        extended = survey.extend(after, page.keys, is_last=page.is_last)
        if extended is None:
            return ()
        keys, gap = extended
        if gap is not None:
            self._idle.append(gap)
            if gap.listed >= _LONGER * self._lasted.get(gap, self._least_keys):
                self._lasted[gap] = gap.listed
                self._push(gap)
        return keys

    def _ask(self, after: str) -> Probe:
        self._asked.add(key_bytes(after))
        return Probe(after)

    def _push(self, gap: Gap) -> None:
        self._numbered += 1
        heapq.heappush(self._largest, (-self._share(gap), self._numbered, gap))

    def _share(self, gap: Gap) -> float:
        """What each would have of a rest, if it is cut wherever it was asked to be."""
        # However wrong the estimate is: what has lasted may be expected to last as long again.
        keys = max(gap.keys if gap.is_measured else _UNKNOWN_KEYS, gap.listed)
        return keys / (self._pending.get(gap, 0) + 1)

    def _split(self, survey: KeySurvey) -> Probe | None:
        while self._largest:
            share, _, gap = heapq.heappop(self._largest)
            pending = self._pending.get(gap, 0)
            if gap.is_closed:
                continue
            if pending >= _MOST_PENDING:
                self._stalled.append(gap)
                continue
            survey.measure(gap)
            now = self._share(gap)
            if now < self._least_keys:
                if -share >= self._least_keys:
                    self._push(gap)
                    continue
                self._push(gap)
                return None
            if now < -share * _STALE:
                self._push(gap)
                continue
            after = self._place(survey, gap, pending)
            if after is not None:
                self._splits[key_bytes(after)] = gap
                self._pending[gap] = pending + 1
                self._push(gap)
                return self._ask(after)
            self._stalled.append(gap)
        return None

    def _place(self, survey: KeySurvey, gap: Gap, pending: int) -> str | None:
        for attempt in range(_ATTEMPTS):
            part = halves(pending + attempt) + self._chance.uniform(-0.2, 0.2) / (pending + attempt + 1)
            after = survey.point(gap, part)
            if after is not None and key_bytes(after) not in self._asked:
                return after
        return None
