"""Which images come before a reviewer next: what this person has open already, else the first of the queue."""

from __future__ import annotations

from dataclasses import dataclass

from sniffer.adapters.mysql.database import Database
from sniffer.core.review_records import EnteredBy, QueueFilter, QueueItem, QueueKey, QueueOrder

MOST_TOGETHER = 24
_TRIES = 3 * MOST_TOGETHER


@dataclass(frozen=True, slots=True)
class QueueAsked:
    """What the reviewer wants to see; `is_alone`: no near-duplicates with it; `skipped`: not these in this round."""

    filter: QueueFilter
    order: QueueOrder = QueueOrder.SCORE
    after: QueueKey | None = None
    is_alone: bool = False
    for_lead: bool = False
    skipped: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """Images that are open before a reviewer and decided together; `next_after` is where the queue goes on."""

    items: tuple[QueueItem, ...]
    next_after: QueueKey | None

    @property
    def image_ids(self) -> list[int]:
        """Their numbers."""
        return [item.image_id for item in self.items]


def next_batch(database: Database, asked: QueueAsked, reviewer: str, lease_s: float) -> OpenBatch | None:
    """Take the next images and return them; None when none waits after that place.

    What is taken by somebody else between looking and taking is passed over.
    """
    held = [
        item
        for item in database.review_leases.held(reviewer)
        if (item.entered_by is EnteredBy.APPEAL) == asked.for_lead
    ]
    if held:
        place = database.review_images.place(held[0].image_id)
        return OpenBatch(_together(database, held, asked, reviewer), place or asked.after)
    after = asked.after
    for _ in range(_TRIES):
        page = database.review_queue.page(asked.filter, reviewer, 1, after, order=asked.order, for_lead=asked.for_lead)
        if page.items and page.items[0].image_id not in asked.skipped:
            batch = _taken(database, page.items[0], asked, reviewer, lease_s)
            if batch:
                return OpenBatch(batch, page.after)
        if page.after is None:
            return None
        after = page.after
    return None


def _together(database: Database, held: list[QueueItem], asked: QueueAsked, reviewer: str) -> tuple[QueueItem, ...]:
    """Of what is held, the first and those that look like it: the others come later."""
    first = held[0]
    if asked.is_alone or asked.for_lead:
        return (first,)
    near = {item.image_id for item in database.review_queue.near(first, reviewer, asked.filter)}
    return (first, *(item for item in held[1:] if item.image_id in near))[:MOST_TOGETHER]


def _taken(
    database: Database, first: QueueItem, asked: QueueAsked, reviewer: str, lease_s: float
) -> tuple[QueueItem, ...]:
    near = [first]
    if not (asked.is_alone or asked.for_lead):
        near = database.review_queue.near(first, reviewer, asked.filter, most=MOST_TOGETHER)
    ids = [item.image_id for item in near]
    mine = database.review_leases.take(ids, reviewer, lease_s, for_lead=asked.for_lead)
    if first.image_id not in mine:
        database.review_leases.give_back(sorted(mine), reviewer)
        return ()
    return tuple(item for item in near if item.image_id in mine)
