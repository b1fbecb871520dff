"""A scan as MySQL has recorded it, for whoever looks at it from outside."""

from __future__ import annotations

from dataclasses import dataclass

RUNNING, COMPLETE, INCOMPLETE = "running", "complete", "incomplete"
"""States that every release knows; a newer one may have more."""


@dataclass(frozen=True, slots=True)
class RecordedScan:
    """One scan, or all shards of one: where it stands, and the figures of its certificate once it has ended."""

    scan_id: str
    state: str
    is_certified: bool = False
    listed: int = 0
    flagged_new: int = 0
    problems: tuple[str, ...] = ()
    """Why its certificate does not hold, and some of why those of its shards do not."""
    shard_states: frozenset[str] = frozenset()
    """In which states its shards are; empty for a scan in one piece."""
