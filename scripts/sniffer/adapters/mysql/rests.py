"""What a shard that ended early has left over becomes a further part of it, within the transaction that closes it."""

from __future__ import annotations

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.mysql import insert

from sniffer.adapters.mysql.schema import scans, shards
from sniffer.adapters.mysql.transactions import utc_now
from sniffer.core.errors import ContractError
from sniffer.core.records import Certificate
from sniffer.core.shard_records import part_scan_id


def leave_rest(connection: Connection, certificate: Certificate) -> None:
    """Cut the part where its certificate ends. ContractError when it is no part of a shard, or was cut before there.

    Both parts together have the keys that the one had, whoever dies when.
    """
    end = certificate.key_range.up_to
    mine = select(shards).where(shards.c.part_scan_id == certificate.scan_id).with_for_update()
    found = connection.execute(mine).first()
    if found is None or end is None:
        raise ContractError(f"scan {certificate.scan_id} ended early, but is no part of a shard in MySQL")
    up_to = end.encode()
    if found.up_to_key == up_to:  # a commit whose answer was lost
        return
    siblings = (shards.c.scan_number == found.scan_number, shards.c.shard == found.shard)
    last = int(connection.execute(select(func.max(shards.c.part)).where(*siblings)).scalar_one())
    whole = connection.execute(select(scans.c.scan_id).where(scans.c.number == found.scan_number)).scalar_one()
    rest = {
        "scan_number": found.scan_number,
        "shard": found.shard,
        "part": last + 1,
        "after_key": up_to,
        "up_to_key": found.up_to_key,
        "planned_keys": 0,
        "part_scan_id": part_scan_id(whole, found.shard, last + 1),
        "planned_at": utc_now(),
    }
    connection.execute(insert(shards).values(rest))
    connection.execute(update(shards).where(shards.c.part_scan_id == certificate.scan_id).values(up_to_key=up_to))
