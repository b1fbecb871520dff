"""MySQL: which images wait for reviewers. Every method but refresh() is a few short transactions; that has many.

`review_queue` is an index of what is flagged in the present, so that a page costs a page however many images are
flagged or were decided: a decision takes its image out, a refresh brings in what was flagged since. Each page checks
its images again, so a stale row costs a look-up and is never shown.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, exists, func, literal, or_, select
from sqlalchemy.dialects.mysql import insert

from sniffer.adapters.mysql.review.duplicates import near_ids
from sniffer.adapters.mysql.review.present import (
    ITEM_COLUMNS,
    has_newer,
    is_decided,
    is_gone,
    of_held_scan,
    queue_item,
    server_now,
    stable_version,
)
from sniffer.adapters.mysql.review.same_bytes import settle_all_bytes
from sniffer.adapters.mysql.review.tables import near_duplicates, review_decisions, review_leases, review_queue
from sniffer.adapters.mysql.schema import hold_decisions, images, leases, models, predictions, scans
from sniffer.adapters.mysql.transactions import Transactions, naive_utc, utc_now
from sniffer.core.review_records import (
    EVERYTHING,
    EnteredBy,
    QueueFilter,
    QueueItem,
    QueueKey,
    QueueOrder,
    QueuePage,
)

_STEP_ROWS, _MOST_STEPS = 500, 20
"""How many rows one query looks at, and how many queries a page has at most."""
MOST_COUNTED = 100_000


class ReviewQueue:
    """The queue. Pages have the images of the reviewer's filter that are free, in their order."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._transact = transactions.transact
        self._seen: tuple[object, ...] | None = None

    def page(
        self,
        asked: QueueFilter,
        reviewer: str,
        limit: int,
        after: QueueKey | None = None,
        *,
        order: QueueOrder = QueueOrder.SCORE,
        for_lead: bool = False,
    ) -> QueuePage:
        """At most `limit` images for that reviewer, after that place: flagged, drawn and second ones mixed.

        Without what somebody else holds, what the reviewer has decided, and what is not of the present any more. With
        `for_lead` those that a lead must settle. Cost: the rows of the page, and at most _STEP_ROWS * _MOST_STEPS that
        the filter leaves out; a page may then have fewer images, or none, and go on at its `after`.
        """
        found: list[QueueItem] = []
        for _ in range(_MOST_STEPS):
            walked, items = self._step(asked, reviewer, after, order, for_lead)
            room = limit - len(found)
            found += items[:room]
            if len(items) >= room:
                last = found[-1].image_id
                return QueuePage(tuple(found), next(key for key in walked if key.image_id == last))
            if len(walked) < _STEP_ROWS:
                return QueuePage(tuple(found), None)
            after = walked[-1]
        return QueuePage(tuple(found), after)

    def _step(
        self, asked: QueueFilter, reviewer: str, after: QueueKey | None, order: QueueOrder, for_lead: bool
    ) -> tuple[list[QueueKey], list[QueueItem]]:
        walk = _walk(asked, after, order, for_lead).limit(_STEP_ROWS)
        rows = self._transact(lambda connection: connection.execute(walk).all())
        walked = [QueueKey(row.place, row.image_id) for row in rows]
        if not walked:
            return [], []
        shown = _shown(reviewer).where(review_queue.c.image_id.in_([key.image_id for key in walked]), *_narrowed(asked))
        found = {row.image_id: queue_item(row) for row in self._transact(lambda c: c.execute(shown).all())}
        return walked, [found[key.image_id] for key in walked if key.image_id in found]

    def near(
        self,
        item: QueueItem,
        reviewer: str,
        asked: QueueFilter = EVERYTHING,
        *,
        for_lead: bool = False,
        most: int = 50,
    ) -> list[QueueItem]:
        """That image, and those of the filter that look like it and wait for that reviewer, too; the nearest first.

        Each is near that very image, so a chain of small changes never joins what looks different. Images without a
        perceptual hash are near nothing. Cost: some thousand rows, as NearDuplicates.near().
        """
        near = self._transact(lambda connection: near_ids(connection, item.image_id))
        ids = [image_id for image_id in near if image_id != item.image_id]
        if not ids:
            return [item]
        narrowed = (review_queue.c.is_for_lead == for_lead, *_in_index(asked), *_narrowed(asked))
        shown = _shown(reviewer).where(review_queue.c.image_id.in_(ids), *narrowed)
        found = {row.image_id: queue_item(row) for row in self._transact(lambda c: c.execute(shown).all())}
        return [item, *(found[image_id] for image_id in ids if image_id in found)][:most]

    def without_hash(self, limit: int) -> list[QueueItem]:
        """Images of the queue whose perceptual hash nobody has computed yet, first in the order of score."""
        after: QueueKey | None = None
        found: list[QueueItem] = []
        for _ in range(_MOST_STEPS):
            walk = _walk(EVERYTHING, after, QueueOrder.SCORE, for_lead=False).limit(_STEP_ROWS)
            rows = self._transact(lambda connection, walk=walk: connection.execute(walk).all())  # type: ignore[misc]
            ids = [row.image_id for row in rows]
            if not ids:
                break
            has_hash = exists().where(near_duplicates.c.image_id == review_queue.c.image_id)
            shown = _shown("").where(review_queue.c.image_id.in_(ids), ~has_hash)
            new = {row.image_id: queue_item(row) for row in self._transact(lambda c, q=shown: c.execute(q).all())}  # type: ignore[misc]
            found += [new[image_id] for image_id in ids if image_id in new]
            after = QueueKey(rows[-1].place, rows[-1].image_id)
            if len(found) >= limit or len(rows) < _STEP_ROWS:
                break
        return found[:limit]

    def backlog(self, asked: QueueFilter = EVERYTHING, *, for_lead: bool = False) -> int:
        """About how many images wait, at most MOST_COUNTED: as of the last refresh, by bucket and place alone."""
        counted = _walk(asked, None, QueueOrder.SCORE, for_lead).limit(MOST_COUNTED).subquery()
        query = select(func.count()).select_from(counted)
        return int(self._transact(lambda connection: connection.execute(query).scalar_one()))

    def refresh(self, batch_rows: int = 1000) -> int:
        """Bring in what is flagged now, take out what is not any more; returns how many came in.

        Short transactions; may be interrupted, and run in several processes at once. Cost: some look-ups for each row
        of the queue; and some for each flagged image (a minute or two for a million), unless no scan has run, ended,
        been held or released, and no other version or threshold is in force, since this very repository has last
        looked at them all.
        """
        # First out: what an earlier stable version has flagged comes in again as the present one's.
        self._leave(batch_rows)
        state = self._transact(_state)
        stable = self._transact(stable_version)
        if state is not None and state == self._seen:
            return 0
        entered = 0
        if stable is not None:
            after: QueueKey | None = None
            while page := self._transact(lambda c, after=after: _flagged(c, *stable, after, batch_rows)):  # type: ignore[misc]
                after = page[-1]
                ids = [key.image_id for key in page]
                entered += self._transact(lambda c, ids=ids: _enter(c, stable[0], ids))  # type: ignore[misc]
        if state is not None:
            # What a lead is to see may have been replaced or deleted since; and what decided it may be gone with it.
            settle_all_bytes(self._transactions, batch_rows)
        self._seen = state
        return entered

    def _leave(self, batch_rows: int) -> None:
        after = 0
        while True:
            query = select(review_queue.c.image_id).where(review_queue.c.image_id > after)
            page = query.order_by(review_queue.c.image_id).limit(batch_rows)
            ids = self._transact(lambda connection, page=page: list(connection.execute(page).scalars()))  # type: ignore[misc]
            if not ids:
                return
            after = ids[-1]
            self._transact(lambda connection, ids=ids: _leave(connection, ids))  # type: ignore[misc]


def _walk(asked: QueueFilter, after: QueueKey | None, order: QueueOrder, for_lead: bool) -> Select[Any]:
    """Numbers in their order from an index: what it cannot filter, _narrowed() does."""
    place, image_id = review_queue.c.place, review_queue.c.image_id
    query = select(place, image_id).where(review_queue.c.is_for_lead == for_lead, *_in_index(asked))
    if order is QueueOrder.SCORE:
        if after is not None:
            further = or_(place < after.place, image_id < after.image_id)
            query = query.where(place <= after.place, further)
        return query.order_by(place.desc(), image_id.desc())
    if after is not None:
        query = query.where(place >= after.place, or_(place > after.place, image_id > after.image_id))
    return query.order_by(place, image_id)


def _in_index(asked: QueueFilter) -> list[ColumnElement[bool]]:
    bounds: list[ColumnElement[bool]] = []
    if asked.bucket is not None:
        bounds.append(review_queue.c.bucket == asked.bucket)
    if asked.low is not None:
        bounds.append(review_queue.c.place >= asked.low)
    if asked.high is not None:
        bounds.append(review_queue.c.place <= asked.high)
    return bounds


def _narrowed(asked: QueueFilter) -> list[ColumnElement[bool]]:
    narrowed: list[ColumnElement[bool]] = []
    if asked.prefix:
        start = asked.prefix.encode()
        narrowed.append(func.left(images.c.object_key, len(start)) == start)
    if asked.since is not None:
        narrowed.append(images.c.last_modified >= naive_utc(asked.since))
    if asked.until is not None:
        narrowed.append(images.c.last_modified < naive_utc(asked.until))
    if asked.model_version is not None:
        narrowed.append(review_queue.c.model_version == asked.model_version)
    return narrowed


def _shown(reviewer: str) -> Select[Any]:
    """The images of the queue that may be shown to that reviewer now."""
    held = exists().where(
        review_leases.c.image_id == review_queue.c.image_id,
        review_leases.c.reviewer != reviewer,
        review_leases.c.lease_until > server_now(),
    )
    facts = (
        predictions.c.score,
        models.c.threshold,
        review_queue.c.model_version,
        predictions.c.rendering,
        review_queue.c.entered_by,
        review_queue.c.probability,
        literal(0).label("is_replaced"),
    )
    return (
        select(*ITEM_COLUMNS, *facts)
        .select_from(review_queue)
        .join(images, images.c.image_id == review_queue.c.image_id)
        .join(
            predictions,
            and_(
                predictions.c.image_id == review_queue.c.image_id,
                predictions.c.model_version == review_queue.c.model_version,
            ),
        )
        .join(models, models.c.version == review_queue.c.model_version)
        .where(~held, is_waiting(), or_(review_queue.c.decided_by == "", review_queue.c.decided_by != reviewer))
    )


def waiting_facts(
    connection: Connection, image_ids: Sequence[int], reviewer: str, *, for_lead: bool
) -> list[QueueItem]:
    """Those of these images that wait for that reviewer and that nobody else holds, by their numbers."""
    if not image_ids:
        return []
    asked = _shown(reviewer).where(review_queue.c.image_id.in_(image_ids), review_queue.c.is_for_lead == for_lead)
    return [queue_item(row) for row in connection.execute(asked.order_by(review_queue.c.image_id))]


def is_waiting() -> ColumnElement[bool]:
    """Whether that row of the queue, with its image, prediction and model, is to be decided now."""
    is_first = review_queue.c.entered_by.in_((EnteredBy.FLAGGED, EnteredBy.SAMPLE))
    is_flagged = and_(models.c.status == "stable", predictions.c.score >= models.c.threshold, ~of_held_scan())
    return and_(
        or_(review_queue.c.entered_by != EnteredBy.FLAGGED, is_flagged),
        or_(~is_first, ~is_decided()),
        ~has_newer(),
        ~is_gone(),
    )


def _flagged(
    connection: Connection, version: int, threshold: float, after: QueueKey | None, batch_rows: int
) -> list[QueueKey]:
    """A page of all flagged images of that version, whatever else is with them, the highest scores first."""
    score, image_id = predictions.c.score, predictions.c.image_id
    query = select(score, image_id).where(predictions.c.model_version == version, score >= threshold)
    if after is not None:
        query = query.where(score <= after.place, or_(score < after.place, image_id < after.image_id))
    rows = connection.execute(query.order_by(score.desc(), image_id.desc()).limit(batch_rows)).all()
    return [QueueKey(row.score, row.image_id) for row in rows]


def _state(connection: Connection) -> tuple[object, ...] | None:
    """What changes whenever other images are flagged; None while a scan runs."""
    if connection.execute(select(leases.c.scan_number).limit(1)).first() is not None:
        return None
    ended = select(func.max(scans.c.finished_at))
    decided = select(func.max(hold_decisions.c.number))
    return stable_version(connection), connection.execute(ended).scalar(), connection.execute(decided).scalar()


def _enter(connection: Connection, version: int, image_ids: Sequence[int]) -> int:
    """Bring those of these flagged images in that are of the present, not held, not decided, and not there yet."""
    there = select(review_queue.c.image_id).where(review_queue.c.image_id.in_(image_ids))
    new = {*image_ids} - {*connection.execute(there).scalars()}
    # Most of what is flagged and not there was decided: one look-up, before all the others.
    of_new = select(review_decisions.c.image_id).where(review_decisions.c.image_id.in_(new)).distinct()
    known = {*connection.execute(of_new).scalars()} if new else set()
    undecided = sorted((new - known) | _to_decide_again(connection, known))
    if not undecided:
        return 0
    query = (
        select(images.c.image_id, images.c.bucket, predictions.c.score)
        .join_from(predictions, images, images.c.image_id == predictions.c.image_id)
        .where(
            predictions.c.image_id.in_(undecided),
            predictions.c.model_version == version,
            ~of_held_scan(),
            ~has_newer(),
            ~is_gone(),
        )
    )
    now = utc_now()
    rows = [
        {
            "image_id": row.image_id,
            "is_for_lead": False,
            "entered_by": EnteredBy.FLAGGED,
            "decided_by": "",
            "model_version": version,
            "place": row.score,
            "probability": 1.0,
            "bucket": row.bucket,
            "entered_at": now,
        }
        for row in connection.execute(query)
    ]
    if rows:
        connection.execute(insert(review_queue).values(rows).prefix_with("IGNORE"))
    return len(rows)


def _to_decide_again(connection: Connection, image_ids: Collection[int]) -> set[int]:
    """Those of these images whose decisions were all taken back, or are about other bytes."""
    if not image_ids:
        return set()
    query = select(images.c.image_id).where(images.c.image_id.in_(sorted(image_ids)), ~is_decided())
    return set(connection.execute(query).scalars())


def _leave(connection: Connection, image_ids: Sequence[int]) -> None:
    """Take those of these images out that are not to be decided any more."""
    query = (
        select(review_queue.c.image_id)
        .join(images, images.c.image_id == review_queue.c.image_id)
        .join(
            predictions,
            and_(
                predictions.c.image_id == review_queue.c.image_id,
                predictions.c.model_version == review_queue.c.model_version,
            ),
        )
        .join(models, models.c.version == review_queue.c.model_version)
        .where(review_queue.c.image_id.in_(image_ids), is_waiting())
    )
    gone = sorted({*image_ids} - {*connection.execute(query).scalars()})
    if gone:
        connection.execute(delete(review_queue).where(review_queue.c.image_id.in_(gone)))
