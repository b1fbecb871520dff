"""A database with flagged images, and reviewers who decide about them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from sniffer.adapters.mysql.database import Database
from sniffer.core.review_records import (
    EVERYTHING,
    NO_SECOND_REVIEW,
    NewDecision,
    QueueFilter,
    QueueItem,
    Reason,
    ReviewDecision,
    SecondReview,
)
from support.stored_rows import model, predicted, record

LEASE_S = 300.0
_keys = itertools.count()


def flag(database: Database, scores: dict[str, float], **how: object) -> None:
    """Register model 1 as stable (threshold 0.5), and score these keys in a scan of bucket `bkt`."""
    if database.models.get(1) is None:
        database.models.register(model(1))
    if database.models.stable() is None:
        database.models.promote(1)
    record(database, [predicted(key, score) for key, score in scores.items()], **how)  # type: ignore[arg-type]
    database.review_queue.refresh()


def waiting(database: Database, reviewer: str = "ann", asked: QueueFilter = EVERYTHING, limit: int = 100) -> list[str]:
    """The keys that wait for that reviewer, in their order."""
    return [item.key for item in database.review_queue.page(asked, reviewer, limit).items]


def item_of(database: Database, key: str, reviewer: str = "ann", *, for_lead: bool = False) -> QueueItem:
    """The image with that key, which must be waiting."""
    page = database.review_queue.page(EVERYTHING, reviewer, 1000, for_lead=for_lead)
    return next(item for item in page.items if item.key == key)


def decide(
    database: Database,
    key: str,
    said: ReviewDecision = ReviewDecision.DRUG,
    reviewer: str = "ann",
    *,
    second: SecondReview = NO_SECOND_REVIEW,
    is_lead: bool = False,
) -> int:
    """That reviewer takes the image with that key from the queue, and decides it; returns the decision's number."""
    item = item_of(database, key, reviewer, for_lead=is_lead)
    taken = database.review_leases.take([item.image_id], reviewer, LEASE_S, for_lead=is_lead)
    assert taken == {item.image_id}
    new = NewDecision(item.image_id, said, reason_of(said))
    return submit(database, [new], reviewer, second=second, is_lead=is_lead)[0]


def submit(
    database: Database,
    decisions: Sequence[NewDecision],
    reviewer: str = "ann",
    *,
    second: SecondReview = NO_SECOND_REVIEW,
    is_lead: bool = False,
) -> list[int]:
    """Store them under a key of their own."""
    key = f"submit-{next(_keys)}"
    return database.review_decisions.add(decisions, reviewer=reviewer, submit_key=key, second=second, is_lead=is_lead)


def reason_of(said: ReviewDecision) -> Reason | None:
    """The reason that goes with it."""
    return Reason.CANNABIS if said is ReviewDecision.DRUG else None
