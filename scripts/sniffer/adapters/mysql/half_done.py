"""MySQL: scans in shards that have begun and not ended, which need the model version that they are pinned to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, func, select, update

from sniffer.adapters.mysql.plan_holds import held_for, is_whole, whole_of
from sniffer.adapters.mysql.schema import holds, scans, shards
from sniffer.adapters.mysql.transactions import utc_now
from sniffer.core.errors import SettingsError
from sniffer.core.shard_records import PLAN_KEEPS_MODEL, HalfDonePlan

_OPEN = ("running", "held", "discarded")


def half_done_plans(connection: Connection, model_versions: Sequence[int] = ()) -> list[HalfDonePlan]:
    """The scans in shards that are not certified, nor given up, by any version or by these, in their order.

    Not those of which no shard has begun or ended for PLAN_KEEPS_MODEL. Of those that are held all, since what is
    discarded is scored again. Cost: the scans that have not ended, and the parts of those in shards.
    """
    not_ended = select(scans.c.number).where(scans.c.finished_at.is_(None), scans.c.state.in_(_OPEN))
    held = select(holds.c.scan_number)
    candidates = {*connection.execute(not_ended).scalars(), *connection.execute(held).scalars()}
    # Not as one query: a server may take it for a reason to walk over all shards there ever were.
    first = select(shards.c.scan_number).where(shards.c.scan_number.in_(candidates), shards.c.shard == 1)
    numbers = set(connection.execute(first).scalars()) if candidates else set()
    if not numbers:
        return []
    part = scans.alias()
    moved = func.max(func.coalesce(part.c.finished_at, part.c.started_at))
    columns = (scans.c.number, scans.c.scan_id, scans.c.bucket, scans.c.model_version, scans.c.started_at)
    query = (
        select(*columns, moved.label("moved_at"))
        .join_from(scans, shards, shards.c.scan_number == scans.c.number)
        .join(part, part.c.scan_id == shards.c.part_scan_id, isouter=True)
        .where(scans.c.number.in_(numbers))
        .group_by(*columns)
        .order_by(scans.c.number)
    )
    if model_versions:
        query = query.where(scans.c.model_version.in_(model_versions))
    found = [
        HalfDonePlan(
            row.scan_id, row.bucket, row.model_version, _utc(row.started_at), _utc(row.moved_at or row.started_at)
        )
        for row in connection.execute(query)
    ]
    oldest = datetime.now(UTC) - PLAN_KEEPS_MODEL
    return [plan for plan in found if plan.moved_at >= oldest]


def give_up(connection: Connection, scan_id: str) -> None:
    """Nobody waits for the rest of that scan in shards any more; whoever scans a shard of it takes it up again.

    SettingsError when it has no shards, or has ended or is held.
    """
    query = select(scans.c.number, scans.c.state).where(scans.c.scan_id == scan_id)
    whole = connection.execute(query.with_for_update()).first()
    if whole is None or not is_whole(connection, whole.number):
        raise SettingsError(f"scan {scan_id} has no shards in MySQL: there is nothing to give up")
    if reason := held_for(connection, whole.number):
        raise SettingsError(f"scan {scan_id} is held ({reason}): release it or discard it first")
    if whole.state == "complete":
        raise SettingsError(f"scan {scan_id} is complete: there is nothing to give up")
    mine = update(scans).where(scans.c.number == whole.number)
    connection.execute(mine.values(state="incomplete", finished_at=utc_now()))


def take_up(connection: Connection, scan_id: str) -> None:
    """The scan in shards goes on that this one is a part of, if it was given up."""
    number = whole_of(connection, scan_id)
    query = select(scans.c.state).where(scans.c.number == number)
    if number is not None and connection.execute(query).scalar() == "incomplete":
        given_up = (scans.c.number == number, scans.c.state == "incomplete")
        connection.execute(update(scans).where(*given_up).values(state="running", finished_at=None))


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)
