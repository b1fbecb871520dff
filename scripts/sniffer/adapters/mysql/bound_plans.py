"""MySQL: that a plan of shards has to be approved, from within a transaction of whoever stores or estimates it."""

from __future__ import annotations

from sqlalchemy import Connection, insert

from sniffer.adapters.mysql.schema import estimates
from sniffer.adapters.mysql.transactions import utc_now
from sniffer.adapters.mysql.upserts import insert_unless_there

NO_ESTIMATE = ""
"""The digest of a plan that has to be approved, and was not estimated yet."""


def bind_to_approval(connection: Connection, scan_number: int) -> None:
    """From now on no shard of that scan begins before an estimate of it is approved; one that is there stays as it is.

    The caller has locked the scan's row.
    """
    row = insert(estimates).values(scan_number=scan_number, digest=NO_ESTIMATE, estimate={}, estimated_at=utc_now())
    insert_unless_there(connection, row)
