"""MySQL: what the flagged images of a scan are judged by: those of the scans of its source before it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection, exists, func, select

from sniffer.adapters.mysql.plan_holds import SCORED
from sniffer.adapters.mysql.schema import scans, shards, tallies
from sniffer.adapters.mysql.with_parts import with_parts
from sniffer.core.flag_records import FlagCounts
from sniffer.core.plan_flags import PlanPast


def plan_past(
    connection: Connection, number: int, count: int, plans: int, *, shard: int = 0, part: int = 0
) -> PlanPast:
    """What that scan in shards is judged by, for the part that is asking; see HoldRepository.plan_past()."""
    scan_id = connection.execute(select(scans.c.scan_id).where(scans.c.number == number)).scalar_one()
    earlier = _earlier(connection, number, count)
    in_shards = select(shards.c.scan_number).where(shards.c.scan_number.in_(earlier), shards.c.shard == 1)
    wholes = sorted(set(connection.execute(in_shards).scalars()), reverse=True)[:plans]
    past = _shards_of_past(connection, wholes)
    return PlanPast(scan_id, history(connection, number, count), past, shard, part)


def history(connection: Connection, number: int, count: int) -> tuple[FlagCounts, ...]:
    """What the last scans before that one have scored, each with all its parts, newest first."""
    earlier = _earlier(connection, number, count)
    counted = with_parts(earlier)
    query = (
        select(counted.c.whole, func.sum(tallies.c.images), func.sum(tallies.c.flagged))
        .join_from(counted, tallies, tallies.c.scan_number == counted.c.number)
        .where(tallies.c.run_number > counted.c.discarded_run, tallies.c.outcome.in_(SCORED))
        .group_by(counted.c.whole)
        .order_by(counted.c.whole.desc())
    )
    return tuple(FlagCounts(int(row[1]), int(row[2])) for row in connection.execute(query)) if earlier else ()


def _earlier(connection: Connection, number: int, count: int) -> list[int]:
    """The numbers of the last complete scans of the same source, model version and threshold before that one."""
    ours = connection.execute(select(scans).where(scans.c.number == number)).one()
    query = (
        select(scans.c.number)
        .where(
            scans.c.source_digest == ours.source_digest,
            scans.c.model_version == ours.model_version,
            scans.c.state == "complete",
            scans.c.number < ours.number,
            scans.c.threshold == ours.threshold,
            ~exists().where(shards.c.part_scan_id == scans.c.scan_id),
        )
        .order_by(scans.c.number.desc())
        .limit(count)
    )
    return list(connection.execute(query).scalars())


def _shards_of_past(connection: Connection, numbers: Sequence[int]) -> tuple[tuple[FlagCounts, ...], ...]:
    """What each shard of these scans has scored, in their order. Cost: as plan_counts()."""
    if not numbers:
        return ()
    query = (
        select(shards.c.scan_number, shards.c.shard, func.sum(tallies.c.images), func.sum(tallies.c.flagged))
        .join_from(shards, scans, scans.c.scan_id == shards.c.part_scan_id)
        .join(tallies, tallies.c.scan_number == scans.c.number)
        .where(
            shards.c.scan_number.in_(numbers),
            tallies.c.run_number > scans.c.discarded_run,
            tallies.c.outcome.in_(SCORED),
        )
        .group_by(shards.c.scan_number, shards.c.shard)
    )
    found: dict[int, list[FlagCounts]] = defaultdict(list)
    for row in connection.execute(query):
        found[row[0]].append(FlagCounts(int(row[2]), int(row[3])))
    return tuple(tuple(found[number]) for number in numbers)
