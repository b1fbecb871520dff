"""How the flagged images of a scan in shards stand: what its parts have scored so far, and what it is judged by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sniffer.core.flag_records import FlagCounts


@dataclass(frozen=True, slots=True)
class ShardFlags:
    """One shard with all its parts: about how many keys it has, as planned, and what they have scored."""

    shard: int
    keys: int
    is_ended: bool
    """Whether all its parts are complete."""
    counts: FlagCounts


@dataclass(frozen=True, slots=True)
class PlanPast:
    """What a scan in shards is judged by, which does not change while it goes on: the scans of its source before it.

    `past_shards` are the shards of the last of them that were in shards, newest first, which tell how shards differ.
    `shard` and `part` say which part of it is asking; 0 for the whole.
    """

    scan_id: str
    history: tuple[FlagCounts, ...]
    past_shards: tuple[tuple[FlagCounts, ...], ...]
    shard: int = 0
    part: int = 0


@dataclass(frozen=True, slots=True)
class PlanCounts:
    """Where all shards of a scan stand now, why the whole is held (empty: it is not), and who has released it."""

    shards: tuple[ShardFlags, ...]
    held_for: str = ""
    released: str = ""
    is_mixed: bool = False
    """Whether its parts have flagged by several thresholds, so that their sum can be compared with no past."""

    @property
    def total(self) -> FlagCounts:
        """Of all shards together."""
        counts = [shard.counts for shard in self.shards]
        return FlagCounts(sum(one.scored for one in counts), sum(one.flagged for one in counts))


@dataclass(frozen=True, slots=True)
class PlanJudge:
    """Judges a scan in shards that has ended: `reason` says why it is to be held, by the flood band that was asked for.

    It looks at so many earlier scans, and at the shards of so many of them.
    """

    history_scans: int
    past_plans: int
    reason: Callable[[str, PlanPast, PlanCounts], str]
