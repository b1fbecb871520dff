"""A scan in shards, as it is kept: ranges of keys that tile all keys, each scanned for itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from sniffer.core.key_ranges import KeyRange
from sniffer.core.records import LONGEST_SCAN_ID, ScanRequest

PLANNED, RUNNING, COMPLETE, HELD = "planned", "running", "complete", "held"
"""States of a part; the others are those of `scans`. Planned: nobody has begun."""

PLAN_KEEPS_MODEL = timedelta(days=14)
"""So long after a shard of it has begun or ended a scan in shards keeps its model version, when it is not complete."""

_DIGEST_DIGITS = 12


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
    held_for: str = ""
    """Why it is held as a whole; empty when it is not."""

    @property
    def left(self) -> tuple[int, ...]:
        """The numbers of the shards that are not complete."""
        return tuple(sorted({part.shard for part in self.parts if not part.is_complete}))


@dataclass(frozen=True, slots=True)
class HalfDonePlan:
    """A scan in shards that is neither complete nor given up: when it was planned, and when it last went on (UTC)."""

    scan_id: str
    bucket: str
    model_version: int
    planned_at: datetime
    moved_at: datetime

    @property
    def keeps_until(self) -> datetime:
        """When it lets go of its model version by itself."""
        return self.moved_at + PLAN_KEEPS_MODEL

    def __str__(self) -> str:
        return (
            f"scan {self.scan_id}, which is in shards and half done, needs model version {self.model_version}, until "
            f"{self.keeps_until:%Y-%m-%d %H:%M} UTC unless it goes on: scan what is left, or give it up (`sniffer plan "
            f"--bucket {self.bucket} --scan-id {self.scan_id} --give-up`)"
        )


def part_scan_id(scan_id: str, shard: int, part: int) -> str:
    """The id of a part's own scan: that of the whole with its numbers behind.

    Where that is longer than an id may be, as with the long names of Airflow's runs, the whole's is shortened to its
    beginning and a digest.
    """
    numbers = f".{shard}" if part == 1 else f".{shard}-{part}"
    if len(scan_id) + len(numbers) <= LONGEST_SCAN_ID:
        return scan_id + numbers
    digest = hashlib.sha256(scan_id.encode()).hexdigest()[:_DIGEST_DIGITS]
    return f"{scan_id[: LONGEST_SCAN_ID - len(numbers) - len(digest) - 1]}-{digest}{numbers}"
