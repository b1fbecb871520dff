"""What of the queue is to be decided now: the conditions that each page, lease and refresh checks again."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, exists, func, or_, select

from sniffer.adapters.mysql.review.tables import review_decisions
from sniffer.adapters.mysql.schema import holds, images, models, predictions
from sniffer.core.review_records import EnteredBy, QueueItem, ReviewDecision

_newer = images.alias("newer")
_gone = predictions.alias("gone")
_later = review_decisions.alias("later")


def server_now() -> ColumnElement[Any]:
    """This moment, UTC, by the server's clock, which all review processes share."""
    return func.utc_timestamp(6)


def stable_version(connection: Connection) -> tuple[int, float] | None:
    """The stable model version and its threshold; None without one."""
    query = select(models.c.version, models.c.threshold).where(models.c.status == "stable")
    row = connection.execute(query.order_by(models.c.version.desc()).limit(1)).first()
    return None if row is None else (row.version, row.threshold)


def has_newer() -> ColumnElement[bool]:
    """Whether there is a newer version of the object in `images`, as the view `flagged_images` sees it."""
    is_newer = or_(
        _newer.c.last_modified > images.c.last_modified,
        and_(_newer.c.last_modified == images.c.last_modified, _newer.c.image_id > images.c.image_id),
    )
    same_key = (_newer.c.key_text == images.c.key_text, _newer.c.object_key == images.c.object_key)
    return exists().where(*same_key, _newer.c.bucket == images.c.bucket, is_newer)


def is_gone() -> ColumnElement[bool]:
    """Whether a scan found the object deleted after it was scored."""
    return exists().where(
        _gone.c.image_id == predictions.c.image_id,
        _gone.c.outcome == "gone",
        _gone.c.scored_at > predictions.c.scored_at,
    )


def of_held_scan() -> ColumnElement[bool]:
    """Whether the scan that wrote the prediction is held."""
    return exists().where(holds.c.scan_number == predictions.c.scan_number)


def is_live() -> ColumnElement[bool]:
    """Of a row of `review_decisions`: it says something, and nothing replaces it."""
    return and_(
        review_decisions.c.decision != ReviewDecision.WITHDRAWN,
        ~exists().where(_later.c.replaces == review_decisions.c.number),
    )


def is_decided() -> ColumnElement[bool]:
    """Whether the image of that row of `images` has a live decision about the bytes that it has now."""
    same_bytes = or_(
        review_decisions.c.content_hash.is_(None),
        images.c.content_hash.is_(None),
        review_decisions.c.content_hash == images.c.content_hash,
    )
    return exists().where(review_decisions.c.image_id == images.c.image_id, same_bytes, is_live())


ITEM_COLUMNS = (
    images.c.image_id,
    images.c.bucket,
    images.c.object_key,
    images.c.etag,
    images.c.size_bytes,
    images.c.last_modified,
    images.c.content_hash,
)


def queue_item(row: Row[Any]) -> QueueItem:
    """From ITEM_COLUMNS with score, threshold, model_version, rendering, entered_by, probability and is_replaced."""
    return QueueItem(
        image_id=row.image_id,
        bucket=row.bucket,
        key=row.object_key.decode(),
        etag=row.etag,
        size_bytes=row.size_bytes,
        last_modified=row.last_modified.replace(tzinfo=UTC),
        content_hash=row.content_hash,
        score=row.score,
        threshold=row.threshold,
        model_version=row.model_version,
        rendering=row.rendering,
        entered_by=EnteredBy(row.entered_by),
        probability=row.probability,
        is_replaced=bool(row.is_replaced),
    )
