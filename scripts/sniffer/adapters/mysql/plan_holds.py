"""MySQL: scans in shards that are held as a whole, and what all their parts together are judged by.

A whole that is held has a row in `holds`, and so has each of its parts that has begun: the views look up those. Parts
that have not begun do not begin. Whoever opens or ends a part locks the row of the whole first, shared, and whoever
holds, releases or discards the whole locks it alone: so no part slips through between.

All of it is within a transaction of the caller's.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, Connection, delete, exists, func, insert, select, update

from sniffer.adapters.mysql.schema import hold_decisions, holds, scans, shards, tallies
from sniffer.adapters.mysql.transactions import utc_now
from sniffer.core.flag_records import FlagCounts, HoldDecision
from sniffer.core.plan_flags import PlanCounts, ShardFlags
from sniffer.core.records import Outcome

SCORED = (Outcome.PREDICTED, Outcome.REUSED)
REASON_CHARS = 500


def lock_whole(connection: Connection, scan_id: str) -> int | None:
    """The number of the scan that this one is a part of, whose row is locked, shared; None when it is none."""
    number = whole_of(connection, scan_id)
    if number is not None:
        connection.execute(select(scans.c.number).where(scans.c.number == number).with_for_update(read=True)).all()
    return number


def whole_of(connection: Connection, scan_id: str) -> int | None:
    """The number of the scan that this one is a part of; None when it is none."""
    return connection.execute(select(shards.c.scan_number).where(shards.c.part_scan_id == scan_id)).scalar()


def is_whole(connection: Connection, number: int) -> bool:
    """Whether that scan was cut into shards."""
    return connection.execute(select(shards.c.shard).where(shards.c.scan_number == number).limit(1)).first() is not None


def parts_begun(connection: Connection, number: int) -> list[int]:
    """The numbers of the parts' own scans, of those that have begun."""
    query = select(scans.c.number).join_from(shards, scans, scans.c.scan_id == shards.c.part_scan_id)
    return sorted(connection.execute(query.where(shards.c.scan_number == number)).scalars())


def held_for(connection: Connection, number: int) -> str:
    """Why that scan is held; empty when it is not."""
    return connection.execute(select(holds.c.reason).where(holds.c.scan_number == number)).scalar() or ""


def released_by(connection: Connection, number: int) -> str:
    """Who released that scan, and why, where that is the last word on it; empty otherwise.

    A word without a name is a scan's own, which can hold itself, and no more: its role cannot write a name.
    """
    query = select(hold_decisions).where(hold_decisions.c.scan_number == number)
    last = connection.execute(query.order_by(hold_decisions.c.number.desc()).limit(1)).first()
    if last is None or last.decision != HoldDecision.RELEASED or not last.decided_by:
        return ""
    return by_whom(last.decided_by, last.reason)


def by_whom(name: str, reason: str) -> str:
    """A decision in words, as certificates have it."""
    return f"{name}: {reason}"


def hold_whole(connection: Connection, number: int, reason: str) -> None:
    """From now on that scan in shards is held, with all its parts.

    Nothing changes where it is held already, was released, or is complete. May be repeated.
    """
    whole = connection.execute(select(scans.c.state).where(scans.c.number == number).with_for_update()).one()
    if whole.state == "complete" or held_for(connection, number) or released_by(connection, number):
        return
    now, reason = utc_now(), reason[:REASON_CHARS]
    parts = parts_begun(connection, number)
    # A part that is held for itself keeps its own reason, but is decided about with the whole.
    alone = set(connection.execute(select(holds.c.scan_number).where(holds.c.scan_number.in_(parts))).scalars())
    rows = [{"scan_number": one, "reason": reason, "held_at": now} for one in (number, *parts) if one not in alone]
    connection.execute(insert(holds).values(rows))
    connection.execute(update(scans).where(scans.c.number == number).values(state="held"))
    decision = {"decision": str(HoldDecision.HELD), "reason": reason, "decided_at": now}
    connection.execute(insert(hold_decisions).values(scan_number=number, run_number=0, **decision))


def end_hold(connection: Connection, numbers: Collection[int]) -> None:
    """None of these scans is held any more."""
    connection.execute(delete(holds).where(holds.c.scan_number.in_(numbers)))


def is_part_of_held() -> ColumnElement[bool]:
    """Of a scan: it is a part of one that is held as a whole."""
    held = exists().where(shards.c.part_scan_id == scans.c.scan_id, holds.c.scan_number == shards.c.scan_number)
    return held.correlate(scans)


def plan_counts(connection: Connection, number: int) -> PlanCounts:
    """Where all shards of that scan stand. Cost: a row for each part, and a few for each of its consumers."""
    whole = connection.execute(select(scans.c.threshold).where(scans.c.number == number)).one()
    query = (
        select(shards.c.shard, shards.c.planned_keys, scans.c.number, scans.c.state, scans.c.threshold)
        .join_from(shards, scans, scans.c.scan_id == shards.c.part_scan_id, isouter=True)
        .where(shards.c.scan_number == number)
        .order_by(shards.c.shard, shards.c.part)
    )
    parts = connection.execute(query).all()
    counts = _scored_by_part(connection, number)
    found: dict[int, ShardFlags] = {}
    for part in parts:
        known = found.get(part.shard, ShardFlags(part.shard, 0, True, FlagCounts(0, 0)))
        scored, flagged = counts.get(part.number, (0, 0))
        found[part.shard] = ShardFlags(
            part.shard,
            known.keys + part.planned_keys,
            known.is_ended and part.state == "complete",
            FlagCounts(known.counts.scored + scored, known.counts.flagged + flagged),
        )
    return PlanCounts(
        tuple(found.values()),
        held_for(connection, number),
        released_by(connection, number),
        is_mixed=any(part.number in counts and part.threshold != whole.threshold for part in parts),
    )


def _scored_by_part(connection: Connection, number: int) -> dict[int, tuple[int, int]]:
    query = (
        select(scans.c.number, func.sum(tallies.c.images), func.sum(tallies.c.flagged))
        .join_from(shards, scans, scans.c.scan_id == shards.c.part_scan_id)
        .join(tallies, tallies.c.scan_number == scans.c.number)
        .where(
            shards.c.scan_number == number,
            tallies.c.run_number > scans.c.discarded_run,
            tallies.c.outcome.in_(SCORED),
        )
        .group_by(scans.c.number)
    )
    return {row[0]: (int(row[1]), int(row[2])) for row in connection.execute(query)}
