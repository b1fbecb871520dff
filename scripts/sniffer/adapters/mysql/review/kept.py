"""MySQL: copies of decided images. Each method is one transaction, but the iterators, which have one for each page.

A copy has its row before it is made, so that whatever lies in the bucket is known, whoever is killed when. Who has
begun it last, by `begun_at`, says that it is whole: whoever was overtaken, also by an erasure, does not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, or_, select, text, union, update

from sniffer.adapters.mysql.erased_keys import is_erased
from sniffer.adapters.mysql.review.present import is_live, server_now
from sniffer.adapters.mysql.review.tables import kept_images, review_decisions
from sniffer.adapters.mysql.schema import images
from sniffer.adapters.mysql.transactions import Transactions
from sniffer.adapters.mysql.upserts import upsert
from sniffer.core.kept_images import BegunCopy, CopyToRemove, DecidedBytesAt, KeptImage, NoCopy

ERASING = "erasing"
"""In place of a problem: it goes as soon as its images have gone."""
_COLUMNS = ("content_hash", "bucket", "object_key", "version_id", "size_bytes", "begun_at", "problem", "tried_number")
_of = kept_images.c


class KeptImages:
    """Copies by their SHA-256."""

    def __init__(self, transactions: Transactions) -> None:
        self._transact = transactions.transact

    def begin(self, bucket: str, keys: Mapping[bytes, str]) -> list[BegunCopy]:
        """Say that copies of these bytes are to be made under these keys; returns those that are not whole already."""
        if not keys:
            return []

        def begin(connection: Connection) -> list[BegunCopy]:
            now = connection.execute(select(server_now())).scalar_one()
            is_whole = (_of.content_hash.in_(keys), _is_whole())
            # Wanted again: whoever has found that nobody needs them comes too late.
            connection.execute(update(kept_images).where(*is_whole).values(begun_at=now))
            whole = select(_of.content_hash).where(*is_whole)
            new = sorted(set(keys) - set(connection.execute(whole).scalars()))
            rows = [(each, bucket, keys[each].encode(), "", 0, now, "", 0) for each in new]
            if rows:
                updates = dict.fromkeys(("bucket", "object_key", "begun_at", "problem"), "{new}")
                upsert(connection, "kept_images", _COLUMNS, rows, updates | {"kept_at": "NULL"})
            return [BegunCopy(each, now) for each in new]

        return self._transact(begin)

    def end(self, begun: BegunCopy, version_id: str, size_bytes: int) -> bool:
        """Say that it is whole; False when somebody has begun it anew, or erased it, meanwhile."""
        ours = update(kept_images).where(_of.content_hash == begun.content_hash, _of.begun_at == begun.begun_at)
        values = {"version_id": version_id, "size_bytes": size_bytes, "kept_at": server_now(), "problem": ""}
        return bool(self._transact(lambda connection: connection.execute(ours.values(values)).rowcount))

    def is_known(self, content_hash: bytes) -> bool:
        """Whether there is a row of it, whole or not: an erasure has taken what has none."""
        query = select(_of.content_hash).where(_of.content_hash == content_hash)
        return self._transact(lambda connection: connection.execute(query).first()) is not None

    def fail(self, begun: BegunCopy, why: NoCopy, number: int) -> None:
        """Say why there is none, as far as the decision with that number: a later one tries again."""
        ours = update(kept_images).where(_of.content_hash == begun.content_hash, _of.begun_at == begun.begun_at)
        tried = func.greatest(_of.tried_number, number)
        self._transact(lambda connection: connection.execute(ours.values(problem=why, tried_number=tried)))

    def missing(self, after: int, limit: int) -> list[DecidedBytesAt]:
        """Bytes with a live decision after that number and no copy, in the order of decisions; not what is hopeless."""
        query = (
            select(review_decisions.c.number, review_decisions.c.content_hash, images.c.bucket, images.c.object_key)
            .join(images, images.c.image_id == review_decisions.c.image_id)
            .join(kept_images, _of.content_hash == review_decisions.c.content_hash, isouter=True)
            .where(
                review_decisions.c.number > after,
                review_decisions.c.content_hash.is_not(None),
                is_live(),
                or_(
                    _of.content_hash.is_(None),
                    and_(_of.kept_at.is_(None), or_(_of.problem == "", _of.tried_number < review_decisions.c.number)),
                ),
                or_(_of.problem.is_(None), _of.problem != ERASING),
            )
            .order_by(review_decisions.c.number)
            .limit(limit)
        )
        rows = self._transact(lambda connection: connection.execute(query).all())
        return [
            DecidedBytesAt(row.content_hash, row.bucket, row.object_key.decode(errors="replace"), row.number)
            for row in rows
        ]

    def pages(self, page_rows: int = 1000) -> Iterator[list[KeptImage]]:
        """All copies that are whole, in the order of their hashes."""
        after = b""
        while True:
            query = select(kept_images).where(_of.content_hash > after, _is_whole())
            page = query.order_by(_of.content_hash).limit(page_rows)
            found = self._transact(lambda connection, page=page: connection.execute(page).all())  # type: ignore[misc]
            if not found:
                return
            after = found[-1].content_hash
            yield [
                KeptImage(row.content_hash, row.bucket, row.object_key.decode(), row.version_id, row.size_bytes)
                for row in found
            ]

    def mark_for_erasure(self, bucket: str, key: str | None, prefix: str) -> set[bytes]:
        """Mark the copies of these keys' bytes, before the rows of their images go; returns their hashes.

        Cost: the images of these keys.
        """
        of_images = images.c.bucket == bucket, *is_erased(key, prefix)
        decided = select(_of.content_hash).join(review_decisions, review_decisions.c.content_hash == _of.content_hash)
        query = union(
            decided.join(images, images.c.image_id == review_decisions.c.image_id).where(*of_images),
            select(_of.content_hash).join(images, images.c.content_hash == _of.content_hash).where(*of_images),
        )

        def mark(connection: Connection) -> set[bytes]:
            hashes = set(connection.execute(query).scalars())
            if hashes:
                marked = update(kept_images).where(_of.content_hash.in_(hashes))
                connection.execute(marked.values(problem=ERASING))
            return hashes

        return self._transact(mark)

    def to_remove(self, erased: Collection[bytes] = (), *, unneeded_for: timedelta | None = None) -> list[CopyToRemove]:
        """Of the copies that are marked, or are of these bytes, those that no decision is about any more.

        Those that one is about are marked no more. With `unneeded_for` also copies without a live decision that were
        begun so long ago or longer: it was taken back, or never stored.
        """
        about = exists().where(review_decisions.c.content_hash == _of.content_hash)
        marked = or_(_of.problem == ERASING, _of.content_hash.in_(erased))
        keep = update(kept_images).where(_of.problem == ERASING, about).values(problem="")
        gone = and_(marked, ~about)
        if unneeded_for is not None:
            live = exists().where(review_decisions.c.content_hash == _of.content_hash, is_live())
            gone = or_(
                gone,
                and_(
                    ~live,
                    _of.kept_at.is_not(None),
                    _of.begun_at < func.timestampadd(text("SECOND"), -int(unneeded_for.total_seconds()), server_now()),
                ),
            )

        def find(connection: Connection) -> list[CopyToRemove]:
            connection.execute(keep)
            rows = connection.execute(select(kept_images).where(gone).order_by(_of.content_hash))
            return [CopyToRemove(row.content_hash, row.bucket, row.object_key.decode(), row.begun_at) for row in rows]

        return self._transact(find)

    def remove(self, copy: CopyToRemove, delete_object: Callable[[str], object]) -> bool:
        """Delete a copy by its key, and then its row; False where it is wanted again meanwhile, and stays or is remade.

        Whoever is killed between these leaves the row, by which it is deleted again.
        """
        ours = (_of.content_hash == copy.content_hash, _of.begun_at == copy.begun_at)
        claim = update(kept_images).where(*ours).values(problem=ERASING)
        if not self._transact(lambda connection: connection.execute(claim).rowcount):
            return False
        delete_object(copy.key)

        def remove(connection: Connection) -> bool:
            if connection.execute(delete(kept_images).where(*ours)).rowcount:
                return True
            anew = update(kept_images).where(_of.content_hash == copy.content_hash)
            connection.execute(anew.values(kept_at=None, begun_at=server_now()))
            return False

        return self._transact(remove)

    def remove_all(self, copies: Sequence[CopyToRemove], deleter: Callable[[str], Callable[[str], object]]) -> int:
        """Remove these, see remove(); returns how many were. `deleter` gives for a bucket what deletes a key of it."""
        deleters = {bucket: deleter(bucket) for bucket in {copy.bucket for copy in copies}}
        return sum(self.remove(copy, deleters[copy.bucket]) for copy in copies)


def _is_whole() -> ColumnElement[bool]:
    return and_(_of.kept_at.is_not(None), _of.problem == "")
