"""MySQL: the rows of a scan's results lie under its own number, or, of one in shards, under those of its parts."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Subquery, select, union_all

from sniffer.adapters.mysql.schema import scans, shards


def with_parts(numbers: Sequence[int]) -> Subquery:
    """These scans, and every part of those in shards: columns `whole` (one of `numbers`), `number`, `discarded_run`."""
    part = scans.alias()
    parts = (
        select(shards.c.scan_number.label("whole"), part.c.number, part.c.discarded_run)
        .join_from(shards, part, part.c.scan_id == shards.c.part_scan_id)
        .where(shards.c.scan_number.in_(numbers))
    )
    alone = select(scans.c.number.label("whole"), scans.c.number, scans.c.discarded_run)
    return union_all(alone.where(scans.c.number.in_(numbers)), parts).subquery()
