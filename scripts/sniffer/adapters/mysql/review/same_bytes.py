"""MySQL: the same bytes that were decided both ways under different keys come before a lead, who settles all of them.

Each look is a transaction after the one that has stored a decision, and the lock of the first image with these bytes is
its own: so the last one sees what all the others have stored, and leaves the queue as it must be.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from sqlalchemy import ColumnElement, Connection, Select, delete, exists, or_, select, union

from sniffer.adapters.mysql.review.decision_rows import decisions_of
from sniffer.adapters.mysql.review.present import has_newer, is_gone
from sniffer.adapters.mysql.review.storing_decisions import Facts, end_leases, lock_images, put_into_queue
from sniffer.adapters.mysql.review.tables import review_decisions, review_queue
from sniffer.adapters.mysql.schema import images, predictions
from sniffer.adapters.mysql.transactions import Transactions
from sniffer.core.label_rules import about_newest_bytes, counting_label, decided_bytes
from sniffer.core.review_records import DecisionRow, EnteredBy, ReviewDecision, waits_for

_AT_ONCE = 500
"""Rows that one statement asks for."""

_other = review_decisions.alias("other")


def settle_bytes_of(transactions: Transactions, image_ids: Collection[int]) -> None:
    """Bring the leads' queue up to date with what is stored of these images' bytes. Idempotent.

    Cost: some look-ups for each decision of these images, and the decisions about bytes that are, or were, for a lead.
    """
    if not image_ids:
        return
    ours = review_decisions.c.image_id.in_(sorted(image_ids))
    known = (ours, review_decisions.c.content_hash.is_not(None))
    settled = (*known, review_decisions.c.entered_by == EnteredBy.APPEAL)
    waits = exists().where(review_queue.c.image_id == review_decisions.c.image_id, review_queue.c.is_for_lead.is_(True))
    # UNION: each once.
    query = union(
        _both_ways(ours),
        select(review_decisions.c.content_hash).where(*settled),
        select(review_decisions.c.content_hash).where(*known, waits),
    )
    for content_hash in transactions.transact(lambda connection: list(connection.execute(query).scalars())):
        transactions.transact(lambda connection, found=content_hash: _settle(connection, found))  # type: ignore[misc]


def settle_all_bytes(transactions: Transactions, page_rows: int) -> None:
    """The same of all decisions. Cost: their number, by an index, and a look-up for each that says `drug`."""
    after = b""
    while True:
        asked = (review_decisions.c.content_hash > after, review_decisions.c.decision == ReviewDecision.DRUG)
        query = _both_ways(*asked).distinct().order_by(review_decisions.c.content_hash).limit(page_rows)
        page = transactions.transact(lambda connection, query=query: list(connection.execute(query).scalars()))  # type: ignore[misc]
        for content_hash in page:
            transactions.transact(lambda connection, found=content_hash: _settle(connection, found))  # type: ignore[misc]
        if len(page) < page_rows:
            return
        after = page[-1]


def _both_ways(*asked: ColumnElement[bool]) -> Select[tuple[bytes]]:
    """The bytes of these decisions about which one was `drug` and one `not_drug`, whether they still count or not."""
    said = (
        exists().where(_other.c.content_hash == review_decisions.c.content_hash, _other.c.decision == each)
        for each in (ReviewDecision.DRUG, ReviewDecision.NOT_DRUG)
    )
    return select(review_decisions.c.content_hash).where(review_decisions.c.content_hash.is_not(None), *asked, *said)


def _settle(connection: Connection, content_hash: bytes) -> None:
    of_bytes = select(review_decisions.c.image_id).where(review_decisions.c.content_hash == content_hash).distinct()
    ids = sorted(connection.execute(of_bytes).scalars())
    lock_images(connection, ids[:1])
    group = dict(_group(connection, ids, content_hash))
    counting = [row for live in group.values() if (row := counting_label(live)) is not None]
    found = decided_bytes(counting)
    chosen = _to_be_shown(connection, counting) if found.is_conflict else None
    if chosen is not None:
        facts = Facts(EnteredBy.APPEAL, chosen.model_version, chosen.score, chosen.threshold, chosen.probability)
        bucket = connection.execute(select(images.c.bucket).where(images.c.image_id == chosen.image_id)).scalar_one()
        put_into_queue(connection, chosen.image_id, bucket, facts)
    stay = {
        image_id
        for image_id, live in group.items()
        if not found.is_settled and waits_for(live, is_chosen=False) is EnteredBy.APPEAL
    } | {chosen.image_id if chosen else 0}
    for part in _parts(sorted(group.keys() - stay)):
        ours = (review_queue.c.image_id.in_(part), review_queue.c.is_for_lead.is_(True))
        connection.execute(delete(review_queue).where(*ours))
    end_leases(connection, ids[:1], "")  # the row that was made to lock


def _group(
    connection: Connection, image_ids: Sequence[int], content_hash: bytes
) -> Iterator[tuple[int, list[DecisionRow]]]:
    """Of each image whose live decisions are about these bytes, those decisions."""
    for part in _parts(image_ids):
        for image_id, rows in decisions_of(connection, part).items():
            live = about_newest_bytes([row for row in rows if row.is_live])
            if live and live[-1].content_hash == content_hash:
                yield image_id, live


def _to_be_shown(connection: Connection, decisions: Sequence[DecisionRow]) -> DecisionRow | None:
    """The decision of an image that a lead can look at, rather one that waits for a lead already; None: there is none.

    Not one that still waits for its second reviewer: it comes when that one has decided.
    """
    counting = {row.number: row for row in decisions}
    for part in _parts(sorted(counting, reverse=True)):
        query = (
            select(review_decisions.c.number)
            .join(images, images.c.image_id == review_decisions.c.image_id)
            .join(
                predictions,
                (predictions.c.image_id == review_decisions.c.image_id)
                & (predictions.c.model_version == review_decisions.c.model_version),
            )
            .join(review_queue, review_queue.c.image_id == review_decisions.c.image_id, isouter=True)
            .where(
                review_decisions.c.number.in_(part),
                ~has_newer(),
                ~is_gone(),
                or_(review_queue.c.image_id.is_(None), review_queue.c.is_for_lead.is_(True)),
            )
            .order_by(review_queue.c.image_id.is_(None), review_decisions.c.number.desc())
            .limit(1)
        )
        if (number := connection.execute(query).scalar()) is not None:
            return counting[number]
    return None


def _parts(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    return (numbers[at : at + _AT_ONCE] for at in range(0, len(numbers), _AT_ONCE))
