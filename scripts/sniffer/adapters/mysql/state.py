"""MySQL: which scans wait for a person to act, and how large the tables are. Reads only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select, text

from sniffer.adapters.mysql.plan_holds import is_part_of_held
from sniffer.adapters.mysql.review.drift_results import newest_drift
from sniffer.adapters.mysql.schema import holds, scans, shards
from sniffer.adapters.mysql.transactions import Transactions, utc_now
from sniffer.core.metrics import TABLES
from sniffer.core.recall_records import DRIFT_DAYS
from sniffer.core.state_records import StoredState

BROKEN_DAYS = 90
"""A broken certificate counts for so long: nobody repairs an older scan."""


class StateRepository:
    """The stored state, for whoever watches."""

    def __init__(self, transactions: Transactions) -> None:
        self._transact = transactions.transact

    def read(self) -> StoredState:
        """As it is now. Cost: the scans that are held, those that ended in BROKEN_DAYS, the drift of the stable
        version, and the size of no table.

        Held: a scan in shards that is held as a whole counts once. Broken: its certificate does not hold, and neither
        was it run again, nor has a later scan of the same source, keys and window ended well, nor was it given up.
        """
        since = datetime.now(UTC).date() - timedelta(days=DRIFT_DAYS)
        return self._transact(
            lambda connection: StoredState(
                _held(connection), _broken(connection), _sizes(connection), newest_drift(connection, since)
            )
        )


def _held(connection: Connection) -> int:
    query = select(func.count()).select_from(holds).join(scans, scans.c.number == holds.c.scan_number)
    return int(connection.execute(query.where(~is_part_of_held())).scalar_one())


def _broken(connection: Connection) -> int:
    later, whole = scans.alias("later"), scans.alias("whole")
    same_keys = [
        func.json_extract(later.c.request, f"$.{name}") == func.json_extract(scans.c.request, f"$.{name}")
        for name in ("include", "exclude")
    ]
    repaired = exists().where(
        later.c.source_digest == scans.c.source_digest,
        later.c.state == "complete",
        later.c.number > scans.c.number,
        later.c.bucket == scans.c.bucket,
        later.c.prefix == scans.c.prefix,
        or_(later.c.window_since.is_(None), later.c.window_since <= scans.c.window_since),
        or_(later.c.window_until.is_(None), later.c.window_until >= scans.c.window_until),
        func.json_type(func.json_extract(later.c.request, "$.limit")) == "NULL",
        or_(*_covers_keys(later.c.request, scans.c.request)),
        *same_keys,
        ~exists().where(shards.c.part_scan_id == later.c.scan_id),
    )
    given_up = exists().where(
        shards.c.part_scan_id == scans.c.scan_id,
        whole.c.number == shards.c.scan_number,
        whole.c.state == "incomplete",
        func.coalesce(func.json_type(whole.c.certificate), "NULL") == "NULL",
    )
    query = select(func.count()).where(
        scans.c.finished_at >= utc_now() - timedelta(days=BROKEN_DAYS),
        scans.c.state == "incomplete",
        # A plan that was given up has none.
        func.json_type(scans.c.certificate) == "OBJECT",
        ~repaired.correlate(scans),
        ~given_up.correlate(scans),
    )
    return int(connection.execute(query).scalar_one())


def _covers_keys(later: ColumnElement[Any], earlier: ColumnElement[Any]) -> list[ColumnElement[bool]]:
    """Of two requests: the later one is of all keys, as is one of an older release, or of the same range."""
    after = func.coalesce(func.json_unquote(func.json_extract(later, "$.key_range.after")), "")
    up_to = func.coalesce(func.json_type(func.json_extract(later, "$.key_range.up_to")), "NULL")
    is_same = func.json_extract(later, "$.key_range") == func.json_extract(earlier, "$.key_range")
    return [and_(after == "", up_to == "NULL"), is_same]


def _sizes(connection: Connection) -> dict[str, int]:
    if not getattr(connection.dialect, "is_mariadb", False):
        # MySQL else tells what was true a day ago.
        connection.execute(text("SET SESSION information_schema_stats_expiry = 0"))
    query = text(
        "SELECT table_name AS name, COALESCE(data_length, 0) + COALESCE(index_length, 0) AS bytes"
        " FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'"
    )
    return {row.name: int(row.bytes) for row in connection.execute(query) if row.name in TABLES}
