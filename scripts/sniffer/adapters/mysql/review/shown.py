"""MySQL: an image as the review page fetches it, and its place in the queue. Each method is one transaction."""

from __future__ import annotations

from datetime import UTC

from sqlalchemy import select

from sniffer.adapters.mysql.review.present import has_newer
from sniffer.adapters.mysql.review.tables import review_queue
from sniffer.adapters.mysql.schema import images, predictions
from sniffer.adapters.mysql.transactions import Transactions
from sniffer.core.review_records import QueueKey
from sniffer.core.shown_images import ShownImage


class ReviewImages:
    """Images by their number."""

    def __init__(self, transactions: Transactions) -> None:
        self._transact = transactions.transact

    def get(self, image_id: int) -> ShownImage | None:
        """The image with that number, and the picture of it that the newest model version has scored."""
        scored = (
            select(predictions.c.rendering)
            .where(predictions.c.image_id == images.c.image_id, predictions.c.score.is_not(None))
            .order_by(predictions.c.model_version.desc())
            .limit(1)
            .scalar_subquery()
        )
        query = select(images, scored.label("rendering"), has_newer().label("is_replaced")).where(
            images.c.image_id == image_id
        )
        row = self._transact(lambda connection: connection.execute(query).first())
        if row is None:
            return None
        return ShownImage(
            row.image_id,
            row.bucket,
            row.object_key.decode(errors="replace"),
            row.etag,
            row.size_bytes,
            row.last_modified.replace(tzinfo=UTC),
            row.content_hash,
            row.rendering,
            bool(row.is_replaced),
        )

    def place(self, image_id: int) -> QueueKey | None:
        """Its place in the queue; None when it is not there any more."""
        query = select(review_queue.c.place).where(review_queue.c.image_id == image_id)
        place = self._transact(lambda connection: connection.execute(query).scalar())
        return None if place is None else QueueKey(float(place), image_id)
