"""The commands that scan what is left of a stored plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sniffer.core.shard_records import ShardChoice, ShardedScan
from sniffer.scan.request import ScanOptions, scan_argv


@dataclass(frozen=True, slots=True)
class PlannedCommand:
    """The words after `sniffer scan` that do what is left of a shard."""

    title: str
    words: tuple[str, ...]


def commands_of(known: ShardedScan, shards: Sequence[int]) -> tuple[PlannedCommand, ...]:
    """A command for each of these shards, in their order; for none of them one that certifies the whole."""
    return tuple(_command(known, shard) for shard in shards or (1,))


def _command(known: ShardedScan, shard: int) -> PlannedCommand:
    choice = ShardChoice(known.request.scan_id, shard)
    words = scan_argv(ScanOptions(known.request, None, dry_run=False, progress=None, shard=choice))
    last = max(part.shard for part in known.parts)
    return PlannedCommand(f"{shard} of {last}", tuple(words))
