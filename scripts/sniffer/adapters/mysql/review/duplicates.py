"""MySQL: perceptual hashes, and which images are near one another by them.

Two hashes of 64 bits that differ in at most seven differ in at most one bit in one of their four parts (the pigeonhole
principle of multi-index hashing: Norouzi, Punjani, Fleet, "Fast search in Hamming space with multi-index hashing", CVPR
2012). So whatever is near has, in one part, one of 17 values: the part's own, or that with one bit changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, select, union_all

from sniffer.adapters.mysql.parts import Parts
from sniffer.adapters.mysql.review.tables import near_duplicates, review_queue
from sniffer.adapters.mysql.transactions import Transactions, utc_now
from sniffer.adapters.mysql.upserts import upsert
from sniffer.core.errors import SettingsError
from sniffer.core.review_records import HASH_BYTES, MAX_DISTANCE

MOST_CANDIDATES = 1000
"""Of each value of a part: pictures without any detail, and those of a campaign, share their hashes by the million."""
_PARTS = range(1, 5)
_COLUMNS = ("image_id", "perceptual_hash", *(f"part_{part}" for part in _PARTS), "computed_at")


class NearDuplicates:
    """Perceptual hashes. Every method is one transaction."""

    def __init__(self, transactions: Transactions) -> None:
        self._transact = transactions.transact
        self._stores = Parts()

    def store(self, hashes: Mapping[int, bytes]) -> None:
        """Keep these images' hashes of HASH_BYTES bytes, in place of older ones. SettingsError for another length."""
        for image_id, value in hashes.items():
            if len(value) != HASH_BYTES:
                raise SettingsError(f"image {image_id}: a perceptual hash has {HASH_BYTES} bytes, not {len(value)}")
        now = utc_now()
        rows = [(image_id, value, *_parts(value), now) for image_id, value in sorted(hashes.items())]
        updates = dict.fromkeys(_COLUMNS[1:], "{new}")

        def store(part: Sequence[tuple[object, ...]]) -> Sequence[None]:
            self._transact(lambda connection: upsert(connection, "near_duplicates", _COLUMNS, part, updates))
            return [None] * len(part)

        if rows:
            self._stores.each(rows, store)

    def near(self, image_id: int) -> list[int]:
        """The images of the queue whose hash differs from that image's in at most MAX_DISTANCE bits, nearest first.

        Its own number is the first, if it has a hash. Cost: the candidates of four parts, about a thousandth of all
        hashes, and never more than MOST_CANDIDATES, the newest, of each of a part's 17 values.
        """
        return self._transact(lambda connection: near_ids(connection, image_id))


def near_ids(connection: Connection, image_id: int) -> list[int]:
    """As NearDuplicates.near()."""
    own = select(near_duplicates.c.perceptual_hash).where(near_duplicates.c.image_id == image_id)
    anchor = connection.execute(own).scalar()
    if anchor is None:
        return []
    found = {image_id: 0}
    for part, value in zip(_PARTS, _parts(anchor), strict=True):
        column = near_duplicates.c[f"part_{part}"]
        # The newest of each value, by its index: what waits is mostly new, and the oldest ones were decided long ago.
        candidates = [
            select(near_duplicates.c.image_id, near_duplicates.c.perceptual_hash)
            .where(column == each)
            .order_by(near_duplicates.c.image_id.desc())
            .limit(MOST_CANDIDATES)
            for each in (value, *(value ^ (1 << bit) for bit in range(16)))
        ]
        found |= {
            row.image_id: away
            for row in connection.execute(union_all(*candidates))
            if (away := distance(row.perceptual_hash, anchor)) <= MAX_DISTANCE
        }
    waiting = select(review_queue.c.image_id).where(review_queue.c.image_id.in_(found))
    there = {image_id, *connection.execute(waiting).scalars()}
    return sorted(there, key=lambda each: (each != image_id, found[each], each))


def distance(one: bytes, other: bytes) -> int:
    """In how many bits two hashes differ."""
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


def _parts(value: bytes) -> list[int]:
    return [int.from_bytes(value[at : at + 2]) for at in range(0, HASH_BYTES, 2)]
