"""A scan in shards, as it is kept: ranges of keys that tile all keys, each scanned for itself."""

from __future__ import annotations

from dataclasses import dataclass

from sniffer.core.key_ranges import KeyRange
from sniffer.core.records import ScanRequest

PLANNED, COMPLETE, HELD = "planned", "complete", "held"
"""States of a part; the others are those of `scans`. Planned: nobody has begun."""


@dataclass(frozen=True, slots=True)
class ShardChoice:
    """A shard of a scan whose plan is stored."""

    scan_id: str
    shard: int


@dataclass(frozen=True, slots=True)
class ShardPart:
    """A range of keys with a scan of its own. A shard has one part, and one more each time that it ended early."""

    shard: int
    part: int
    key_range: KeyRange
    keys: int
    """About how many, as planned; 0 for what a part has left over."""
    scan_id: str
    state: str = PLANNED
    runs: int = 0
    listed: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether its certificate holds."""
        return self.state == COMPLETE

    def __str__(self) -> str:
        part = "" if self.part == 1 else f", part {self.part},"
        return f"shard {self.shard}{part} of the keys {self.key_range}"


@dataclass(frozen=True, slots=True)
class ShardedScan:
    """A scan whose shards are stored: what was asked of the whole, by which model version, and all parts in order."""

    request: ScanRequest
    model_version: int
    parts: tuple[ShardPart, ...]

    @property
    def left(self) -> tuple[int, ...]:
        """The numbers of the shards that are not complete."""
        return tuple(sorted({part.shard for part in self.parts if not part.is_complete}))


def part_scan_id(scan_id: str, shard: int, part: int) -> str:
    """The id of a part's own scan."""
    return f"{scan_id}.{shard}" if part == 1 else f"{scan_id}.{shard}-{part}"
