"""MySQL: what reviewers have decided. What is stored together is one transaction, and so is each page that is read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, case, func, select

from sniffer.adapters.mysql.review.decision_rows import DECISION_COLUMNS, decision_row, decisions_of
from sniffer.adapters.mysql.review.importing_decisions import import_decisions
from sniffer.adapters.mysql.review.present import has_newer, is_live
from sniffer.adapters.mysql.review.same_bytes import settle_bytes_of
from sniffer.adapters.mysql.review.storing_decisions import (
    end_leases,
    facts_of,
    insert_decision,
    lock_images,
    queue_again,
    refused_list,
    stored_of,
)
from sniffer.adapters.mysql.review.tables import review_decisions
from sniffer.adapters.mysql.schema import images
from sniffer.adapters.mysql.transactions import Transactions, naive_utc
from sniffer.core.errors import DecisionRefused, SettingsError
from sniffer.core.review_records import (
    NO_SECOND_REVIEW,
    REVIEWER_CHARS,
    SUBMIT_KEY_CHARS,
    Agreement,
    DayFigures,
    DecidedImage,
    DecisionRow,
    EnteredBy,
    ImportedDecision,
    ImportReport,
    NewDecision,
    ReviewDecision,
    SecondReview,
)

_IMPORTED_AT_ONCE = 1000


class ReviewDecisions:
    """Decisions. A row is never changed: what corrects it, or takes it back, is a row of its own."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._transact = transactions.transact

    def add(
        self,
        decisions: Sequence[NewDecision],
        *,
        reviewer: str,
        submit_key: str,
        second: SecondReview = NO_SECOND_REVIEW,
        is_lead: bool = False,
    ) -> list[int]:
        """Store them all, or nothing; returns their numbers in their order. What it returns is committed.

        The same `submit_key` again stores nothing more and returns the same numbers, also after an answer that was
        lost. A first decision needs the reviewer's own live lease, which ends; one with `replaces` or an appeal needs
        none. An image of the share that `second` names then waits for another reviewer, and so does one that was drawn
        unflagged and is a drug by one word; one that reviewers disagree on, or are not sure of, waits for a lead, and
        one whose decisions were all taken back waits anew. Of bytes that were decided both ways under different keys,
        one image waits for a lead, whose word settles all: that is seen to after the commit.

        DecisionRefused when one of them may not be stored: then none is. SettingsError for a reviewer or key of no use.
        """
        _check(reviewer, submit_key)
        if len({new.image_id for new in decisions}) != len(decisions):
            raise SettingsError("a submission has one decision for an image")

        def add(connection: Connection) -> list[int]:
            if stored := stored_of(connection, submit_key):
                return _same(stored, decisions, reviewer, submit_key)
            locked = lock_images(connection, [new.image_id for new in decisions])
            # The same submission may have been stored while this one waited for the lock.
            if stored := stored_of(connection, submit_key):
                return _same(stored, decisions, reviewer, submit_key)
            facts, refused = [], []
            for new in decisions:
                try:
                    facts.append(facts_of(locked, new, reviewer, is_lead=is_lead))
                except DecisionRefused as error:
                    refused.append(str(error))
            if refused:
                raise DecisionRefused(refused_list(refused))
            for new, fact in zip(decisions, facts, strict=True):
                insert_decision(connection, locked, new, fact, reviewer, submit_key)
            end_leases(connection, list(locked.rows), reviewer)
            queue_again(connection, locked, locked.rows, second)
            return _same(stored_of(connection, submit_key), decisions, reviewer, submit_key)

        if not decisions:
            return []
        numbers = self._transact(add)
        settle_bytes_of(self._transactions, [new.image_id for new in decisions])
        return numbers

    def add_imported(
        self,
        decisions: Sequence[ImportedDecision],
        *,
        submit_key: str,
        sent_at: datetime | None = None,
        second: SecondReview = NO_SECOND_REVIEW,
    ) -> ImportReport:
        """Store what was decided in another program; what cannot be stored is left out, and the report says why.

        A decision that its reviewer has made already is left as it is, and another one of the same reviewer corrects
        it, unless that was a lead's. The same `submit_key` again adds only what could not be stored before. Where it is
        known when the message was sent, nothing is stored that is older than what the same reviewer has decided about
        the image since: a message that is played back undoes nothing, whatever came after it.
        """
        for each in decisions:
            _check(each.reviewer, submit_key)
        if len({each.image_id for each in decisions}) != len(decisions):
            raise SettingsError("an import has one decision for an image; send the next one in another")
        report = ImportReport(0, 0, ())
        for at in range(0, len(decisions), _IMPORTED_AT_ONCE):
            part = decisions[at : at + _IMPORTED_AT_ONCE]
            key = hashlib.sha256(f"{submit_key}:{at}".encode()).hexdigest()
            found = self._transact(
                lambda connection, part=part, key=key: import_decisions(connection, part, key, sent_at, second)  # type: ignore[misc]
            )
            settle_bytes_of(self._transactions, [each.image_id for each in part])
            report = ImportReport(
                report.added + found.added, report.unchanged + found.unchanged, report.refused + found.refused
            )
        return report

    def of_image(self, image_id: int) -> list[DecisionRow]:
        """All decisions of that image, in their order."""
        return self._transact(lambda connection: decisions_of(connection, [image_id])[image_id])

    def about_same_bytes(self, image_id: int, limit: int) -> list[DecidedImage]:
        """The live decisions of that image, and of others with the same bytes, the newest of them; in their order."""
        same = select(images.c.content_hash).where(images.c.image_id == image_id).scalar_subquery()
        about = (review_decisions.c.image_id == image_id, review_decisions.c.content_hash == same)
        found: dict[int, DecidedImage] = {}

        def read(connection: Connection) -> None:
            for each in about:
                query = _decided().where(each, is_live()).order_by(review_decisions.c.number.desc()).limit(limit)
                found.update({row.number: _decided_image(row) for row in connection.execute(query)})

        self._transact(read)
        return [found[number] for number in sorted(found)]

    def latest(self, limit: int, *, reviewer: str | None = None, before: int | None = None) -> list[DecidedImage]:
        """The newest decisions, newest first: of all or of that reviewer, and before that number. Cost: the page."""
        query = _decided().order_by(review_decisions.c.number.desc()).limit(limit)
        if reviewer is not None:
            query = query.where(review_decisions.c.reviewer == reviewer)
        if before is not None:
            query = query.where(review_decisions.c.number < before)
        return [_decided_image(row) for row in self._transact(lambda connection: connection.execute(query).all())]

    def live_pages(self, page_rows: int = 1000) -> Iterator[list[DecidedImage]]:
        """All live decisions in the order of their numbers, in pages, each a transaction of its own."""
        after = 0
        while True:
            query = _decided().where(review_decisions.c.number > after, is_live())
            page = query.order_by(review_decisions.c.number).limit(page_rows)
            found = self._transact(lambda connection, page=page: connection.execute(page).all())  # type: ignore[misc]
            if not found:
                return
            after = found[-1].number
            yield [_decided_image(row) for row in found]

    def figures(self, since: datetime, until: datetime) -> list[DayFigures]:
        """What each reviewer did on each day (UTC) from `since` up to before `until`. Cost: the decisions then."""
        day = func.date(review_decisions.c.decided_at)
        # Not SUM(condition): beside a COUNT(DISTINCT …) MariaDB 10.11 adds up equal values once.
        said = {each: _times(review_decisions.c.decision == each) for each in ReviewDecision}
        unblurred = review_decisions.c.was_unblurred.is_(True)
        query = (
            select(
                day.label("day"),
                review_decisions.c.reviewer,
                *(total.label(each) for each, total in said.items()),
                func.count(func.nullif(review_decisions.c.batch, "").distinct()).label("batches"),
                _times(unblurred).label("unblurred"),
                _times(unblurred | (review_decisions.c.decision == ReviewDecision.DRUG)).label("exposures"),
            )
            .where(*_between(since, until))
            .group_by(day, review_decisions.c.reviewer)
            .order_by(day, review_decisions.c.reviewer)
        )
        return [
            DayFigures(
                row.day,
                row.reviewer,
                int(row.drug),
                int(row.not_drug),
                int(row.unsure),
                int(row.withdrawn),
                int(row.batches),
                int(row.unblurred),
                int(row.exposures),
            )
            for row in self._transact(lambda connection: connection.execute(query).all())
        ]

    def agreement(self, since: datetime, until: datetime) -> Agreement:
        """How far first and second reviewers agree, of the second reviews in that time, by their live decisions.

        A lead's are not among them, nor are drawn images, which have a second reviewer because of what the first one
        said: that would tell nothing of both. Cost: the second reviews then.
        """
        other = review_decisions.alias("other")
        later = review_decisions.alias("replacing")
        other_is_live = (other.c.decision != ReviewDecision.WITHDRAWN) & ~select(later.c.number).where(
            later.c.replaces == other.c.number
        ).exists()
        query = (
            select(other.c.decision, review_decisions.c.decision, func.count())
            .join_from(review_decisions, other, other.c.image_id == review_decisions.c.image_id)
            .where(
                review_decisions.c.entered_by == EnteredBy.SECOND,
                *_between(since, until),
                is_live(),
                other.c.entered_by == EnteredBy.FLAGGED,
                other.c.reviewer != review_decisions.c.reviewer,
                other_is_live,
            )
            .group_by(other.c.decision, review_decisions.c.decision)
        )
        rows = self._transact(lambda connection: connection.execute(query).all())
        return Agreement.of({(ReviewDecision(row[0]), ReviewDecision(row[1])): int(row[2]) for row in rows})


def _check(reviewer: str, submit_key: str) -> None:
    if not 0 < len(reviewer) <= REVIEWER_CHARS:
        raise SettingsError(f"a reviewer's name has 1 to {REVIEWER_CHARS} characters, not {len(reviewer):,}")
    if not (0 < len(submit_key) <= SUBMIT_KEY_CHARS and submit_key.isascii()):
        raise SettingsError(f"a submission is named by 1 to {SUBMIT_KEY_CHARS} characters of ASCII")


def _same(stored: dict[int, Row[Any]], decisions: Sequence[NewDecision], reviewer: str, submit_key: str) -> list[int]:
    """The numbers of what is stored; DecisionRefused when the key was used for something else."""
    asked = {new.image_id: (reviewer, new.decision, new.reason or "", new.note, new.replaces) for new in decisions}
    there = {
        image_id: (row.reviewer, row.decision, row.reason, row.note, row.replaces) for image_id, row in stored.items()
    }
    if there != asked:
        raise DecisionRefused(
            f"the submission {submit_key} is stored already, with other decisions: reload the page, look at what it "
            "has, and correct that"
        )
    return [stored[new.image_id].number for new in decisions]


def _times(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count(case((condition, 1)))


def _between(since: datetime, until: datetime) -> tuple[Any, ...]:
    decided_at = review_decisions.c.decided_at
    return decided_at >= naive_utc(since), decided_at < naive_utc(until)


def _decided() -> Any:
    return select(
        *DECISION_COLUMNS, images.c.bucket, images.c.object_key, images.c.etag, has_newer().label("is_replaced")
    ).join(images, images.c.image_id == review_decisions.c.image_id)


def _decided_image(row: Row[Any]) -> DecidedImage:
    return DecidedImage(
        decision_row(row), row.bucket, row.object_key.decode(), row.etag, is_replaced=bool(row.is_replaced)
    )
