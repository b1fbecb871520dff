"""MySQL: which images people have looked at more clearly than blurred. Every method is one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, insert, select

from sniffer.adapters.mysql.review.account_tables import review_looks
from sniffer.adapters.mysql.transactions import Transactions, naive_utc, utc_now
from sniffer.core.review_accounts import LookKind


class ReviewLooks:
    """Looks: rows are only added."""

    def __init__(self, transactions: Transactions) -> None:
        self._transact = transactions.transact

    def add(self, image_id: int, who: str, kind: LookKind) -> None:
        """That person is shown the image now."""
        row = insert(review_looks).values(image_id=image_id, who=who, kind=str(kind), looked_at=utc_now())
        self._transact(lambda connection: connection.execute(row))

    def seen_by(self, who: str, image_ids: Sequence[int]) -> set[int]:
        """Which of these images that person has looked at."""
        query = select(review_looks.c.image_id).where(review_looks.c.image_id.in_(image_ids), review_looks.c.who == who)
        return set(self._transact(lambda connection: connection.execute(query).scalars().all())) if image_ids else set()

    def images_since(self, who: str, since: datetime) -> int:
        """How many images that person has looked at since then."""
        query = select(func.count(func.distinct(review_looks.c.image_id))).where(
            review_looks.c.who == who, review_looks.c.looked_at >= naive_utc(since)
        )
        return int(self._transact(lambda connection: connection.execute(query).scalar_one()))
