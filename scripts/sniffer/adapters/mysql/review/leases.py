"""MySQL: who has which image open. Every method is one transaction, by the server's clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, delete, literal, select, update

from sniffer.adapters.mysql.review.present import ITEM_COLUMNS, has_newer, queue_item, server_now
from sniffer.adapters.mysql.review.queue import waiting_facts
from sniffer.adapters.mysql.review.tables import review_leases
from sniffer.adapters.mysql.schema import images
from sniffer.adapters.mysql.transactions import Transactions
from sniffer.adapters.mysql.upserts import upsert
from sniffer.core.review_records import QueueItem

_COLUMNS = (
    "image_id",
    "reviewer",
    "lease_until",
    "entered_by",
    "model_version",
    "score",
    "threshold",
    "probability",
)
# Columns are set from left to right: once `reviewer` is ours, the lease was free or ours, and the rest follows. One
# statement, which locks its rows in the order of their numbers: of two that ask for one image, the second waits.
_TAKE = {
    "reviewer": "IF(review_leases.lease_until <= UTC_TIMESTAMP(6), {new}, review_leases.reviewer)",
} | {name: "IF(review_leases.reviewer = {new_reviewer}, {new}, " + f"review_leases.{name})" for name in _COLUMNS[2:]}


class ReviewLeases:
    """Leases: an image has at most one holder."""

    def __init__(self, transactions: Transactions) -> None:
        self._transact = transactions.transact

    def take(self, image_ids: Sequence[int], reviewer: str, seconds: float, *, for_lead: bool = False) -> set[int]:
        """Which of these images the reviewer holds from now on, for so long: those that wait, and nobody else holds.

        What the score, the threshold and the probability are now is kept with the lease, and goes into the decision.
        """
        if not image_ids:
            return set()

        def take(connection: Connection) -> set[int]:
            facts = waiting_facts(connection, sorted(set(image_ids)), reviewer, for_lead=for_lead)
            now = connection.execute(select(server_now())).scalar_one()
            until = now + timedelta(seconds=seconds)
            rows = [
                (
                    item.image_id,
                    reviewer,
                    until,
                    str(item.entered_by),
                    item.model_version,
                    item.score,
                    item.threshold,
                    item.probability,
                )
                for item in facts
            ]
            if rows:
                upsert(connection, "review_leases", _COLUMNS, rows, _TAKE)
            taken = select(review_leases.c.image_id).where(
                review_leases.c.image_id.in_([row[0] for row in rows]),
                review_leases.c.reviewer == reviewer,
                review_leases.c.lease_until > server_now(),
            )
            mine = set(connection.execute(taken).scalars()) if rows else set()
            # Of what was decided between the two statements, the lease goes at once.
            waiting = {item.image_id for item in waiting_facts(connection, sorted(mine), reviewer, for_lead=for_lead)}
            if late := sorted(mine - waiting):
                _give_back(connection, late, reviewer)
            return mine & waiting

        return self._transact(take)

    def renew(self, image_ids: Sequence[int], reviewer: str, seconds: float) -> set[int]:
        """Which of these images the reviewer still holds, now for so long from now; a lease that has ended stays so."""
        if not image_ids:
            return set()
        ours = (
            review_leases.c.image_id.in_(sorted(set(image_ids))),
            review_leases.c.reviewer == reviewer,
            review_leases.c.lease_until > server_now(),
        )

        def renew(connection: Connection) -> set[int]:
            held = select(review_leases.c.image_id).where(*ours).order_by(review_leases.c.image_id).with_for_update()
            mine = set(connection.execute(held).scalars())
            until = connection.execute(select(server_now())).scalar_one() + timedelta(seconds=seconds)
            if mine:
                theirs = update(review_leases).where(review_leases.c.image_id.in_(mine))
                connection.execute(theirs.values(lease_until=until))
            return mine

        return self._transact(renew)

    def give_back(self, image_ids: Sequence[int], reviewer: str) -> None:
        """The reviewer's leases of these images end. Idempotent."""
        if image_ids:
            self._transact(lambda connection: _give_back(connection, image_ids, reviewer))

    def held(self, reviewer: str) -> list[QueueItem]:
        """What the reviewer holds now, as it was taken; `is_replaced` says that it has a newer version meanwhile."""
        query = (
            select(
                *ITEM_COLUMNS,
                review_leases.c.score,
                review_leases.c.threshold,
                review_leases.c.model_version,
                literal(None).label("rendering"),
                review_leases.c.entered_by,
                review_leases.c.probability,
                has_newer().label("is_replaced"),
            )
            .join_from(review_leases, images, images.c.image_id == review_leases.c.image_id)
            .where(review_leases.c.reviewer == reviewer, review_leases.c.lease_until > server_now())
            .order_by(review_leases.c.image_id)
        )
        rows: Sequence[Any] = self._transact(lambda connection: connection.execute(query).all())
        return [queue_item(row) for row in rows]


def _give_back(connection: Connection, image_ids: Sequence[int], reviewer: str) -> None:
    ours = (review_leases.c.image_id.in_(sorted(set(image_ids))), review_leases.c.reviewer == reviewer)
    connection.execute(delete(review_leases).where(*ours))
