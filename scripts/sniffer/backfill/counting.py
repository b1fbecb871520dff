"""Lists all shards of a plan, several at once, and counts what is in them. Constant memory: pages are forgotten."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace

from sniffer.adapters.s3.keys import is_usable
from sniffer.adapters.s3.storage_classes import hides_archive, is_archived
from sniffer.backfill.contents import ContentSample
from sniffer.core.count_progress import StageProgress
from sniffer.core.estimate_records import ClassFigures, ShardFigures
from sniffer.core.key_ranges import KeyRange
from sniffer.core.records import ListedObject, Outcome, ScanRequest
from sniffer.core.shard_records import ShardedScan
from sniffer.scan.listing import ListingTally
from sniffer.scan.rules import SkipRules

ARCHIVED = "archived"

Pages = Iterator[list[ListedObject]]
Look = Callable[[ScanRequest, ListingTally, Callable[[list[ListedObject]], None]], Pages]
"""Lists the range of a request, shows each page to the watch, and then gives what of it is left to do."""


@dataclass(slots=True)
class _Classes:
    objects: Counter[str] = field(default_factory=Counter)
    size_bytes: Counter[str] = field(default_factory=Counter)

    def add(self, image: ListedObject) -> None:
        self.objects[image.storage_class] += 1
        self.size_bytes[image.storage_class] += image.size_bytes

    def figures(self) -> tuple[ClassFigures, ...]:
        return tuple(ClassFigures(name, n, self.size_bytes[name]) for name, n in sorted(self.objects.items()))


@dataclass(slots=True)
class BucketCount:
    """What all shards have together, and each of them. Added to by many threads, under its lock."""

    most_bytes: int
    progress: StageProgress
    listed: int = 0
    size_bytes: int = 0
    requests: int = 0
    unchanged: int = 0
    skipped: int = 0
    refused: int = 0
    unfetched: int = 0
    may_be_archived: int = 0
    archived: _Classes = field(default_factory=_Classes)
    to_fetch: _Classes = field(default_factory=_Classes)
    contents: ContentSample = field(default_factory=ContentSample)
    shards: dict[int, ShardFigures] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take_page(
        self,
        rules: SkipRules,
        page: Sequence[ListedObject],
        new: Sequence[ListedObject],
        refused: Mapping[bytes, str],
    ) -> None:
        """A page as it was listed, with what of it has no result yet, and what S3 still refuses, with its codes."""
        request = rules.request
        with self.lock:
            self.requests += 1
            self.progress.advance(len(page))
            left = {id(image) for image in new}
            for image in page:
                if not request.in_window(image.last_modified):
                    continue
                self.size_bytes += image.size_bytes
                if id(image) in left:
                    self._take_new(image)
                elif not is_usable(image.key) or rules.code(image) is not None:
                    continue
                elif refused and (code := refused.get(image.identity)) is not None:
                    if code == ARCHIVED:
                        self.archived.add(image)
                elif not is_archived(image.storage_class):
                    # It has a score: others of the same bytes need none.
                    self.contents.add(image.etag, image.size_bytes, is_known=True)

    def _take_new(self, image: ListedObject) -> None:
        if is_archived(image.storage_class):
            self.archived.add(image)
        elif image.size_bytes > self.most_bytes:
            self.unfetched += 1
        else:
            self.to_fetch.add(image)
            self.may_be_archived += hides_archive(image.storage_class)
            self.contents.add(image.etag, image.size_bytes, is_known=False)

    def take_shard(self, tally: ListingTally, figures: ShardFigures) -> None:
        """A part of a shard whose listing has ended."""
        with self.lock:
            self.listed += tally.listed
            self.unchanged += tally.unchanged
            self.skipped += tally.outcomes[Outcome.SKIPPED]
            self.refused += tally.outcomes[Outcome.INACCESSIBLE] - tally.codes[ARCHIVED]
            self.unfetched += tally.outcomes[Outcome.FAILED]
            known = self.shards.get(figures.shard)
            self.shards[figures.shard] = figures if known is None else _added(known, figures)


def _added(one: ShardFigures, other: ShardFigures) -> ShardFigures:
    new = one.new + other.new
    total_s = sum(each.new * each.modified for each in (one, other) if each.modified is not None)
    return ShardFigures(one.shard, one.objects + other.objects, new, total_s / new if new else None)


def count_bucket(
    whole: ShardedScan, look: Callable[[], Look], most_bytes: int, at_once: int, progress: StageProgress
) -> BucketCount:
    """Count what every part of the plan has, so many at once. `look` is called once in each thread.

    Raises what listing and looking up raise; the other threads end with the page that they are at.
    """
    found, stop = BucketCount(most_bytes, progress), threading.Event()
    own = threading.local()

    def count(shard: int, key_range: KeyRange) -> None:
        if not hasattr(own, "look"):
            own.look = look()
        _count_part(found, own.look, replace(whole.request, key_range=key_range), shard, stop)

    with ThreadPoolExecutor(at_once, "count") as threads:
        parts = [threads.submit(count, part.shard, part.key_range) for part in whole.parts]
        try:
            for part in as_completed(parts):
                part.result()
        except BaseException:
            stop.set()
            for part in parts:
                part.cancel()
            raise
    return found


def _count_part(found: BucketCount, look: Look, request: ScanRequest, shard: int, stop: threading.Event) -> None:
    tally, shown, rules = ListingTally(), list[list[ListedObject]](), SkipRules(request)
    new, total_s = 0, 0.0
    for left in look(request, tally, shown.append):
        found.take_page(rules, shown.pop(), left, tally.refused)
        new += len(left)
        total_s += sum(image.last_modified.timestamp() for image in left)
        if stop.is_set():
            return
    found.take_shard(tally, ShardFigures(shard, tally.listed, new, total_s / new if new else None))
