"""MySQL: the log of the review page, each entry chained to the one before it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from sniffer.adapters.mysql.review.account_tables import review_log, review_log_head
from sniffer.adapters.mysql.transactions import Transactions, utc_now
from sniffer.core.errors import ContractError
from sniffer.core.review_accounts import AuditEntry, LogHead, entry_hash

log = logging.getLogger(__name__)

SUBJECT_CHARS = 500


class AuditLog:
    """The log. add() is one transaction, pages() has one for each page."""

    def __init__(self, transactions: Transactions) -> None:
        self._transact = transactions.transact

    def add(self, who: str, action: str, subject: str = "", **details: str | int | None) -> LogHead:
        """Add an entry; returns where the log ends now, which this process's own log says, too.

        Whoever reads that log elsewhere can prove later that no entry up to this one was taken away.
        """
        said = json.dumps(details, ensure_ascii=True, sort_keys=True)

        def append(connection: Connection) -> LogHead:
            head = _head(connection, is_locked=True)
            if head is None:
                raise ContractError(
                    "the log of the review page has lost its head: `sniffer review verify-log` says more"
                )
            number, at = head.number + 1, utc_now()
            made = entry_hash(number, at, who, action, subject[:SUBJECT_CHARS], said, head.hash)
            row = {
                "number": number,
                "logged_at": at,
                "who": who,
                "action": action,
                "subject": subject[:SUBJECT_CHARS],
                "details": said,
                "previous_hash": head.hash,
                "hash": made,
            }
            connection.execute(insert(review_log).values(row))
            connection.execute(update(review_log_head).values(number=number, hash=made))
            return LogHead(number, made)

        head = self._transact(append)
        log.info("review log: %s %s (head %s)", who or "-", action, head)
        return head

    def head(self) -> LogHead | None:
        """Where the log says that it ends; None when that row is gone."""
        return self._transact(lambda connection: _head(connection, is_locked=False))

    def latest(self, limit: int, before: int | None = None) -> list[AuditEntry]:
        """The newest entries, newest first, before that number."""
        query = select(review_log).order_by(review_log.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(review_log.c.number < before)
        return [_entry(row) for row in self._transact(lambda connection: connection.execute(query).all())]

    def pages(self, page_rows: int = 1000) -> Iterator[list[AuditEntry]]:
        """All entries in the order of their numbers."""
        after: int | None = None
        while True:
            query = select(review_log).order_by(review_log.c.number).limit(page_rows)
            if after is not None:
                query = query.where(review_log.c.number > after)
            rows = self._transact(lambda connection, query=query: connection.execute(query).all())  # type: ignore[misc]
            if not rows:
                return
            after = rows[-1].number
            yield [_entry(row) for row in rows]


def details_of(entry: AuditEntry) -> Mapping[str, str | int | None]:
    """The details of an entry, for people."""
    found: dict[str, str | int | None] = json.loads(entry.details)
    return found


def _head(connection: Connection, *, is_locked: bool) -> LogHead | None:
    query = select(review_log_head.c.number, review_log_head.c.hash).where(review_log_head.c.singleton == 1)
    row = connection.execute(query.with_for_update() if is_locked else query).first()
    return None if row is None else LogHead(row.number, row.hash)


def _entry(row: Row[Any]) -> AuditEntry:
    at = row.logged_at.replace(tzinfo=UTC)
    return AuditEntry(row.number, at, row.who, row.action, row.subject, row.details, row.previous_hash, row.hash)
