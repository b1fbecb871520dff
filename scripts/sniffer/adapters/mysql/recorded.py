"""MySQL: what became of the scans of a run, for a summary: of however many shards, the whole."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, exists, func, select

from sniffer.adapters.mysql.schema import scans, shards
from sniffer.core.recorded_scan import INCOMPLETE, RecordedScan

_MOST_SCANS = 100
"""Of one run, which scans one target, or some after another."""
_MOST_SHARDS = 3
"""Of so many shards that did not end well it is told why."""
_MOST_PROBLEMS = 3


def recorded_scans(connection: Connection, name: str) -> tuple[RecordedScan, ...]:
    """The scans whose ids begin with that name and a dot, in their order."""
    query = (
        select(scans.c.number, scans.c.scan_id, scans.c.state, *map(_figure, ("listed", "flagged_new", "problems")))
        .where(
            scans.c.scan_id.startswith(f"{name}.", autoescape=True),
            ~exists().where(shards.c.part_scan_id == scans.c.scan_id),
        )
        .order_by(scans.c.scan_id)
        .limit(_MOST_SCANS)
    )
    return tuple(_recorded(connection, row) for row in connection.execute(query).all())


def _recorded(connection: Connection, row: Row[Any]) -> RecordedScan:
    parts = select(scans.c.state).join_from(shards, scans, scans.c.scan_id == shards.c.part_scan_id)
    parts = parts.where(shards.c.scan_number == row.number)
    why = parts.with_only_columns(_figure("problems")).where(scans.c.state == INCOMPLETE).order_by(shards.c.shard)
    problems = [row.problems, *connection.execute(why.limit(_MOST_SHARDS)).scalars()]
    return RecordedScan(
        row.scan_id,
        row.state,
        is_certified=row.listed is not None,
        listed=int(row.listed or 0),
        flagged_new=int(row.flagged_new or 0),
        problems=tuple(problem for found in problems if found for problem in json.loads(found)[:_MOST_PROBLEMS]),
        shard_states=frozenset(connection.execute(parts.distinct()).scalars()),
    )


def _figure(name: str) -> ColumnElement[Any]:
    """A field of the certificate, as JSON; empty without one. A certificate can be as large as its samples."""
    return func.json_extract(scans.c.certificate, f"$.{name}").label(name)
