"""What a whole historical bucket would cost to scan, as it is estimated, approved, and held to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sniffer.core.key_ranges import KeyRange
from sniffer.core.shard_records import ShardPart


@dataclass(frozen=True, slots=True)
class Span:
    """A figure that is estimated: nearly always between `least` and `most`."""

    least: float
    likely: float
    most: float

    @property
    def is_exact(self) -> bool:
        """Whether it was counted."""
        return self.least == self.most

    def times(self, factor: float) -> Span:
        """So many times as much, of a factor that is not negative."""
        return Span(self.least * factor, self.likely * factor, self.most * factor)

    def plus(self, other: Span | float) -> Span:
        """The sum; ends are added up, as if both erred in the same direction."""
        more = other if isinstance(other, Span) else Span(other, other, other)
        return Span(self.least + more.least, self.likely + more.likely, self.most + more.most)


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """Objects of one storage class."""

    storage_class: str
    objects: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ShardFigures:
    """What was counted in a shard. `modified` is the mean time of its new images, in seconds since 1970; None: none."""

    shard: int
    objects: int
    new: int
    modified: float | None = None


@dataclass(frozen=True, slots=True)
class BackfillEstimate:
    """What was counted, and what follows from it.

    Counted, exact for the time of the listing: all counts, bytes, archived objects and requests. Estimated: Spans.
    `hours` is None while no scan has measured its pace, and with it all that depends on it.
    """

    scan_id: str
    bucket: str
    prefix: str
    model_version: int
    listed: int
    size_bytes: int
    unchanged: int
    skipped: int
    refused: int
    """Could not be read by an earlier scan, and cannot now; without what is archived."""
    archived: tuple[ClassFigures, ...]
    may_be_archived: int
    """In Intelligent-Tiering, whose listing does not show it."""
    unfetched: int
    """Too large to be fetched, or a key that cannot be asked for."""
    to_fetch: tuple[ClassFigures, ...]
    duplicates: Span
    """Of what is fetched: the same ETag and size as another object that is listed, so that the model is not asked."""
    list_requests: int
    get_requests: int
    at_a_time: int
    hours: Span | None
    gpu_hours: Span | None
    cost: Span | None
    cost_parts: Mapping[str, float]
    currency: str
    rates_as_of: str
    rates_are_examples: bool
    images_per_s: float | None = None
    consumers: int | None = None
    basis: str | None = None
    shard_count: int = 0
    growth: float | None = None
    """The share by which the bucket may have grown; None: whoever scans it is not held to this estimate."""
    shards: tuple[ShardFigures, ...] = ()
    digest: str = ""
    """Of the plan with this estimate, which is what is approved."""

    @property
    def new(self) -> int:
        """Images that are fetched."""
        return sum(one.objects for one in self.to_fetch)

    @property
    def new_bytes(self) -> int:
        """Bytes that are fetched."""
        return sum(one.size_bytes for one in self.to_fetch)

    @property
    def archived_objects(self) -> int:
        """Objects that nobody can read before they are restored."""
        return sum(one.objects for one in self.archived)

    @property
    def room(self) -> int:
        """By so many objects the bucket may grow; none where it is not said."""
        # A machine makes 28.999999999999996 of 0.29 times 100.
        return int(self.listed * (self.growth or 0.0) + 1e-6)

    @property
    def most_listed(self) -> int | None:
        """So many objects may be listed, all shards together; None: no matter how many."""
        return None if self.growth is None else self.listed + self.room


def plan_digest(request: str, model_version: int, parts: Sequence[ShardPart], estimate: str) -> str:
    """SHA-256 of what is approved: what is scanned, in which shards, by which model, at which estimate.

    Request and estimate are the JSON that is stored, not what a release makes of it: an approval outlasts an upgrade.
    A shard that has ended early, with a further part, is the same shard: its range is that of its parts together.
    """
    ends: dict[int, KeyRange] = {}
    for part in parts:
        first = ends.get(part.shard)
        ends[part.shard] = part.key_range if first is None else _joined(first, part.key_range)
    shards = [[shard, one.after, one.up_to] for shard, one in sorted(ends.items())]
    return hashlib.sha256(json.dumps([request, model_version, shards, estimate]).encode()).hexdigest()


def _joined(one: KeyRange, other: KeyRange) -> KeyRange:
    """The range from the first of them to the last: parts of a shard are neighbours, in whatever order they come."""
    first, last = (one, other) if one.after.encode() <= other.after.encode() else (other, one)
    return KeyRange(first.after, last.up_to)


@dataclass(frozen=True, slots=True)
class StoredEstimate:
    """An estimate as it is kept, and who approved it; `approved_at` None: nobody yet."""

    estimate: BackfillEstimate
    estimated_at: datetime
    approved_by: str | None = None
    approval_reason: str | None = None
    approved_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Approving:
    """An approval that is to be recorded: of that plan of that scan. `by` empty: the limits of whoever asked for it."""

    scan_id: str
    digest: str
    by: str
    reason: str
