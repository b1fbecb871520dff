"""MySQL: decisions as they are kept, for the reading and the storing ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC
from typing import Any

from sqlalchemy import Connection, Row, select

from sniffer.adapters.mysql.review.present import is_live
from sniffer.adapters.mysql.review.tables import review_decisions
from sniffer.core.review_records import DecisionRow, EnteredBy, Reason, ReviewDecision

DECISION_COLUMNS = (*review_decisions.c, is_live().label("is_live"))


def decision_row(row: Row[Any]) -> DecisionRow:
    """From DECISION_COLUMNS."""
    return DecisionRow(
        number=row.number,
        image_id=row.image_id,
        content_hash=row.content_hash,
        decision=ReviewDecision(row.decision),
        reason=Reason(row.reason) if row.reason else None,
        note=row.note,
        reviewer=row.reviewer,
        decided_at=row.decided_at.replace(tzinfo=UTC),
        model_version=row.model_version,
        score=row.score,
        threshold=row.threshold,
        entered_by=EnteredBy(row.entered_by),
        probability=row.probability,
        batch=row.batch,
        replaces=row.replaces,
        was_replaced=bool(row.was_replaced),
        was_unblurred=bool(row.was_unblurred),
        is_live=bool(row.is_live),
    )


def decisions_of(connection: Connection, image_ids: Sequence[int]) -> dict[int, list[DecisionRow]]:
    """All decisions of these images, by image, in their order; an image without any has an empty list."""
    found: dict[int, list[DecisionRow]] = defaultdict(list)
    if image_ids:
        query = select(*DECISION_COLUMNS).where(review_decisions.c.image_id.in_(image_ids))
        for row in connection.execute(query.order_by(review_decisions.c.number)):
            found[row.image_id].append(decision_row(row))
    return found


def live_about(rows: Sequence[DecisionRow], content_hash: bytes | None) -> list[DecisionRow]:
    """The live decisions of an image that are about these bytes; where one side is not known, they are."""
    return [
        row
        for row in rows
        if row.is_live and (row.content_hash is None or content_hash is None or row.content_hash == content_hash)
    ]
