"""MySQL: whether each bucket's newest night was like its past. Every method is one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import Connection, and_, func, select
from sqlalchemy.dialects.mysql import insert

from sniffer.adapters.mysql.review.recall_tables import drift_tests
from sniffer.adapters.mysql.schema import models
from sniffer.adapters.mysql.transactions import Transactions, utc_now
from sniffer.core.model_records import ModelStatus
from sniffer.core.recall_records import DriftTest


class DriftRepository:
    """Tests of nights against their past."""

    def __init__(self, transactions: Transactions) -> None:
        self._transact = transactions.transact

    def store(self, tests: Sequence[DriftTest], model_version: int, threshold: float) -> None:
        """Keep these tests of that version at that threshold, in the place of those of the same nights. Idempotent."""
        now = utc_now()
        rows = [
            _values(one) | {"model_version": model_version, "threshold": threshold, "tested_at": now} for one in tests
        ]

        def store(connection: Connection) -> None:
            for row in rows:
                connection.execute(insert(drift_tests).values(row).on_duplicate_key_update(row))

        self._transact(store)

    def newest(self, since: date) -> tuple[DriftTest, ...]:
        """Of the version in production at its threshold: each bucket's newest night since then, in their order.

        Cost: the tests of that version.
        """
        return self._transact(lambda connection: newest_drift(connection, since))


def newest_drift(connection: Connection, since: date) -> tuple[DriftTest, ...]:
    """The same in a transaction of the caller."""
    rows, stable = drift_tests.c, models.c
    ours = and_(
        rows.model_version == stable.version,
        rows.threshold == stable.threshold,
        stable.status == ModelStatus.STABLE,
        rows.night >= since,
    )
    last = (
        select(rows.model_version, rows.threshold, rows.bucket, rows.kind, func.max(rows.night).label("night"))
        .join_from(drift_tests, models, ours)
        .group_by(rows.model_version, rows.threshold, rows.bucket, rows.kind)
        .subquery()
    )
    same = and_(*(rows[name] == last.c[name] for name in ("model_version", "threshold", "bucket", "kind", "night")))
    query = select(drift_tests).join(last, same).order_by(rows.bucket, rows.kind)
    return tuple(
        DriftTest(row.bucket, row.night, row.kind, row.value, row.usual, row.p_value, row.alarm_below, row.nights)
        for row in connection.execute(query)
    )


def _values(one: DriftTest) -> dict[str, Any]:
    return {
        "bucket": one.bucket,
        "kind": one.kind,
        "night": one.night,
        "value": one.value,
        "usual": one.usual,
        "p_value": one.p_value,
        "alarm_below": one.alarm_below,
        "nights": one.nights,
    }
