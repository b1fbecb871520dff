"""MySQL: the scans of the last nights and the reviewers' queue, as counts for a page. Reads only."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, case, exists, func, select, union_all

from sniffer.adapters.mysql.review.tables import review_decisions, review_queue
from sniffer.adapters.mysql.scans import is_living
from sniffer.adapters.mysql.schema import leases, scans, shards, tallies
from sniffer.adapters.mysql.transactions import Transactions, naive_utc
from sniffer.adapters.mysql.with_parts import with_parts
from sniffer.core.overview_records import QueueSummary, ScanSummary
from sniffer.core.records import Outcome
from sniffer.core.review_records import EnteredBy

MOST_OF_A_RUN = 100
_AT_ONCE = 1000
_FIRST_LOOKS = (EnteredBy.FLAGGED, EnteredBy.SAMPLE, EnteredBy.IMPORT)

_COLUMNS = (
    scans.c.number,
    scans.c.scan_id,
    scans.c.source_digest,
    scans.c.bucket,
    scans.c.prefix,
    scans.c.dag_run,
    scans.c.model_version,
    scans.c.state,
    scans.c.started_at,
    scans.c.finished_at,
    scans.c.listed,
    *(scans.c[str(outcome)] for outcome in Outcome),
)


class OverviewRepository:
    """Summaries. Every method is one transaction."""

    def __init__(self, transactions: Transactions) -> None:
        self._transact = transactions.transact

    def scans(self, since: datetime, most: int) -> tuple[ScanSummary, ...]:
        """The scans that were started since then, newest first, each with all its shards; at most so many.

        Cost: the scans and shards that ended since then or have not ended, and the tallies of those that are returned.
        """
        moment = naive_utc(since)
        # Both by the index of the ends, of which a started scan that has not ended has none.
        ended = _wholes().where(scans.c.finished_at >= moment, scans.c.started_at >= moment)
        ended = ended.order_by(scans.c.finished_at.desc()).limit(most)
        unfinished = _wholes().where(scans.c.finished_at.is_(None), scans.c.started_at >= moment)
        unfinished = unfinished.order_by(scans.c.number.desc()).limit(most)

        def read(connection: Connection) -> tuple[ScanSummary, ...]:
            rows = [*connection.execute(ended).all(), *connection.execute(unfinished).all()]
            rows.sort(key=lambda row: (row.started_at, row.number), reverse=True)
            return _summaries(connection, rows[:most])

        return self._transact(read)

    def of_run(self, name: str) -> tuple[ScanSummary, ...]:
        """The scans of an Airflow run by its name, with which their ids begin; at most MOST_OF_A_RUN. Cost: theirs."""
        query = _wholes().where(scans.c.scan_id.startswith(f"{name}.", autoescape=True))
        query = query.order_by(scans.c.scan_id).limit(MOST_OF_A_RUN)
        return self._transact(lambda connection: _summaries(connection, connection.execute(query).all()))

    def codes(self, numbers: Sequence[int]) -> Mapping[int, Mapping[str, int]]:
        """Of those of these scans that have a certificate, how many images ended with each error code."""
        codes = func.json_extract(scans.c.certificate, "$.codes")
        query = select(scans.c.number, codes).where(scans.c.number.in_(numbers))
        rows = self._transact(lambda connection: connection.execute(query).all()) if numbers else []
        return {row[0]: json.loads(row[1]) for row in rows if row[1] is not None}

    def queue(self, most: int) -> QueueSummary:
        """What waits, of the first so many images of the queue. Cost: these rows."""
        rows_of_queue = select(review_queue.c.is_for_lead, review_queue.c.entered_at)
        part = rows_of_queue.order_by(review_queue.c.image_id).limit(most).subquery()
        for_reviewers = part.c.is_for_lead.is_(False)
        query = select(
            func.count(case((for_reviewers, 1))),
            func.count(),
            func.min(case((for_reviewers, part.c.entered_at))),
        )
        waiting, rows, oldest = self._transact(lambda connection: connection.execute(query).one())
        return QueueSummary(waiting, rows - waiting, oldest and oldest.replace(tzinfo=UTC), is_all=rows < most)

    def decided(self, since: datetime, most: int) -> Mapping[date, int]:
        """How many images got a first decision on each day (UTC) since then, of the newest so many.

        Neither second reviews, nor what a lead settled, nor corrections. Cost: the decisions since then, at most so
        many of each kind of first ones.
        """
        kinds = [
            select(review_decisions.c.decided_at)
            .where(
                review_decisions.c.entered_by == kind,
                review_decisions.c.decided_at >= naive_utc(since),
                review_decisions.c.replaces.is_(None),
            )
            .order_by(review_decisions.c.decided_at.desc())
            .limit(most)
            .subquery()
            for kind in _FIRST_LOOKS
        ]
        found = union_all(*(select(kind.c.decided_at) for kind in kinds)).subquery()
        day = func.date(found.c.decided_at)
        query = select(day, func.count()).group_by(day)
        return {row[0]: row[1] for row in self._transact(lambda connection: connection.execute(query).all())}


def _wholes() -> Select[Any]:
    return select(*_COLUMNS).where(~exists().where(shards.c.part_scan_id == scans.c.scan_id))


def _summaries(connection: Connection, rows: Sequence[Row[Any]]) -> tuple[ScanSummary, ...]:
    alive = _alive(connection) if any(row.finished_at is None for row in rows) else set()
    stored: dict[int, dict[Outcome, int]] = defaultdict(dict)
    flagged: dict[int, int] = defaultdict(int)
    for start in range(0, len(rows), _AT_ONCE):
        numbers = [row.number for row in rows[start : start + _AT_ONCE]]
        for number, outcome, images, of_them in connection.execute(_stored(numbers)):
            stored[number][Outcome(outcome)] = int(images)
            flagged[number] += int(of_them)
    return tuple(
        ScanSummary(
            number=row.number,
            scan_id=row.scan_id,
            source=row.source_digest.hex(),
            bucket=row.bucket,
            prefix=row.prefix.decode(),
            dag_run=row.dag_run or "",
            model_version=row.model_version,
            state=row.state,
            is_alive=row.number in alive,
            started_at=row.started_at.replace(tzinfo=UTC),
            finished_at=row.finished_at and row.finished_at.replace(tzinfo=UTC),
            listed=row.listed,
            counts={outcome: getattr(row, outcome) for outcome in Outcome},
            stored=stored[row.number],
            flagged=flagged[row.number],
        )
        for row in rows
    )


def _alive(connection: Connection) -> set[int]:
    """The numbers of the scans that somebody works on, and of those that have such a shard."""
    own = select(leases.c.scan_number).where(is_living())
    wholes = (
        select(shards.c.scan_number)
        .join_from(leases, scans, scans.c.number == leases.c.scan_number)
        .join(shards, shards.c.part_scan_id == scans.c.scan_id)
        .where(is_living())
    )
    return {*connection.execute(own).scalars(), *connection.execute(wholes).scalars()}


def _stored(numbers: Sequence[int]) -> Select[Any]:
    """By scan and outcome what they, or their shards, have stored and not discarded."""
    counted = with_parts(numbers)
    return (
        select(counted.c.whole, tallies.c.outcome, func.sum(tallies.c.images), func.sum(tallies.c.flagged))
        .join_from(counted, tallies, tallies.c.scan_number == counted.c.number)
        .where(tallies.c.run_number > counted.c.discarded_run)
        .group_by(counted.c.whole, tallies.c.outcome)
    )
