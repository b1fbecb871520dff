"""MySQL: what is already known of an image, and what became of it in a scan. Every method is one transaction."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from typing import Any

from sqlalchemy import Connection, Row, func, select
from sqlalchemy.dialects.mysql import insert

from sniffer.adapters.mysql.decisions import StoredPrediction, decide, reusable_hash
from sniffer.adapters.mysql.schema import images, models, predictions
from sniffer.adapters.mysql.transactions import Transactions, naive_utc, utc_now
from sniffer.core.records import SETTLED, ListedObject, Outcome, Result

_MESSAGE_CHARS = 500


@dataclasses.dataclass(frozen=True, slots=True)
class RankedImage:
    """One row of a ranking by score, for people."""

    bucket: str
    key: str
    score: float
    flagged: bool


class ImageRepository:
    """Images and the predictions about them. Every method is one transaction."""

    def __init__(self, transactions: Transactions) -> None:
        self._transact = transactions.transact

    def settled(self, identities: Sequence[bytes], model_version: int, *, scan_id: str | None = None) -> set[bytes]:
        """Which of these images already have a result from that model version that needs no second try.

        With `scan_id`, only results of that very scan count (what a resumed rescan has done so far).
        Cost: one indexed query whatever the size of the tables.
        """
        if not identities:
            return set()
        marks = ",".join(["%s"] * len(identities))
        outcomes = ",".join(f"'{outcome}'" for outcome in sorted(SETTLED))
        # Driver-level SQL: compiling a thousand bound parameters costs more than the look-up itself.
        query = (
            "SELECT i.identity FROM images i STRAIGHT_JOIN predictions p ON p.image_id = i.image_id"
            f" WHERE p.model_version = %s AND p.outcome IN ({outcomes}) AND i.identity IN ({marks})"
        )
        parameters: tuple[Any, ...] = (model_version, *identities)
        if scan_id is not None:
            query += " AND p.scan_id = %s"
            parameters += (scan_id,)
        return self._transact(lambda connection: {row[0] for row in connection.exec_driver_sql(query, parameters)})

    def scored_bytes(self, content_hashes: Sequence[bytes], model_version: int) -> dict[bytes, float]:
        """Scores that this model version already gave to these very bytes, by content hash."""
        if not content_hashes:
            return {}
        query = select(predictions.c.scored_hash, predictions.c.score).where(
            predictions.c.model_version == model_version, predictions.c.scored_hash.in_(content_hashes)
        )
        return self._transact(lambda connection: {row[0]: row[1] for row in connection.execute(query)})

    def record(
        self, results: Sequence[Result], *, model_version: int, scan_id: str, rescan: bool = False
    ) -> list[Outcome]:
        """Store what became of these images in one transaction, and say for each how it now counts in this scan.

        A settled result is never overwritten (with `rescan`: never one of this very scan), so a late duplicate
        changes nothing: it counts as what is stored, or as `unchanged` when another scan stored it first.
        Idempotent.
        """
        if not results:
            return []
        return self._transact(lambda connection: _record(connection, results, model_version, scan_id, rescan))

    def failed_objects(
        self, bucket: str, prefix: str, model_version: int, page_size: int = 1000
    ) -> Iterator[list[ListedObject]]:
        """The objects whose last outcome by that model version is `failed`, in pages by image id."""
        after = 0
        while True:
            page = self._transact(
                lambda connection, after=after: _failed_page(  # type: ignore[misc]
                    connection, bucket, prefix, model_version, after, page_size
                )
            )
            if not page:
                return
            after = page[-1].image_id
            yield [_listed_object(row) for row in page]

    def top_images(self, model_version: int, count: int = 10, bucket: str | None = None) -> list[RankedImage]:
        """The highest-scored images of a model version, best first."""
        query = (
            select(images.c.bucket, images.c.object_key, predictions.c.score, models.c.threshold)
            .join_from(predictions, images, predictions.c.image_id == images.c.image_id)
            .join(models, models.c.version == predictions.c.model_version)
            .where(predictions.c.model_version == model_version, predictions.c.score.is_not(None))
            .order_by(predictions.c.score.desc(), images.c.image_id)
            .limit(count)
        )
        if bucket is not None:
            query = query.where(images.c.bucket == bucket)
        rows = self._transact(lambda connection: connection.execute(query).all())
        return [RankedImage(row[0], row[1].decode(), row[2], row[2] >= row[3]) for row in rows]

    def recent_images(self, count: int) -> list[ListedObject]:
        """The newest images that a model, of whatever version, was asked about; newest first."""
        # By the primary key, whose ids grow with time, so that it ends after a few rows. An order by the time would
        # sort all predictions, and of an EXISTS MariaDB makes a table of them all.
        newest = (
            select(predictions.c.image_id)
            .where(predictions.c.outcome == Outcome.PREDICTED)
            .distinct()
            .order_by(predictions.c.image_id.desc())
            .limit(count)
            .subquery()
        )
        query = select(images).join(newest, newest.c.image_id == images.c.image_id).order_by(images.c.image_id.desc())
        rows = self._transact(lambda connection: connection.execute(query).all())
        return [_listed_object(row) for row in rows]


def _record(
    connection: Connection, results: Sequence[Result], model_version: int, scan_id: str, rescan: bool
) -> list[Outcome]:
    # In the order of the unique key, so that two writers of the same images queue up rather than deadlock.
    by_identity = {result.image.identity: result for result in sorted(results, key=lambda r: r.image.identity)}
    image_ids = _upsert_images(connection, by_identity)
    # The upsert holds the images' row locks: nobody else can decide about these images before we commit.
    owned = _stored_predictions(connection, image_ids, model_version)
    rows, counted = [], {}
    for identity, result in by_identity.items():
        decision = decide(owned.get(image_ids[identity]), result, scan_id=scan_id, rescan=rescan)
        counted[identity] = decision.counts_as
        if decision.replaces:
            rows.append(_prediction_row(result, image_ids[identity], model_version, scan_id))
    if rows:
        statement = insert(predictions)
        fresh = {name: statement.inserted[name] for name in rows[0] if name not in ("image_id", "model_version")}
        connection.execute(statement.on_duplicate_key_update(fresh), rows)
    return [counted[result.image.identity] for result in results]


def _upsert_images(connection: Connection, by_identity: Mapping[bytes, Result]) -> dict[bytes, int]:
    statement = insert(images)
    content_hash = func.coalesce(statement.inserted.content_hash, images.c.content_hash)
    connection.execute(
        statement.on_duplicate_key_update(content_hash=content_hash),
        [_image_row(identity, result) for identity, result in by_identity.items()],
    )
    query = select(images.c.identity, images.c.image_id).where(images.c.identity.in_(list(by_identity)))
    return {row[0]: row[1] for row in connection.execute(query)}


def _stored_predictions(
    connection: Connection, image_ids: Mapping[bytes, int], model_version: int
) -> dict[int, StoredPrediction]:
    query = select(predictions.c.image_id, predictions.c.outcome, predictions.c.scan_id).where(
        predictions.c.model_version == model_version, predictions.c.image_id.in_(list(image_ids.values()))
    )
    return {row[0]: StoredPrediction(Outcome(row[1]), row[2]) for row in connection.execute(query)}


def _image_row(identity: bytes, result: Result) -> dict[str, Any]:
    image = result.image
    return {
        "identity": identity,
        "bucket": image.bucket,
        "object_key": image.key.encode(),
        "etag": image.etag,
        "size_bytes": image.size_bytes,
        "last_modified": naive_utc(image.last_modified),
        "content_hash": result.content_hash,
    }


def _prediction_row(result: Result, image_id: int, model_version: int, scan_id: str) -> dict[str, Any]:
    return {
        "image_id": image_id,
        "model_version": model_version,
        "scan_id": scan_id,
        "outcome": str(result.outcome),
        "score": result.score,
        "scored_hash": reusable_hash(result),
        "error_code": result.error_code,
        "error_message": result.error_message and result.error_message[:_MESSAGE_CHARS],
        "scored_at": utc_now(),
    }


def _failed_page(
    connection: Connection, bucket: str, prefix: str, model_version: int, after: int, page_size: int
) -> Sequence[Row[Any]]:
    start = prefix.encode()
    query = (
        select(images)
        .join(predictions, predictions.c.image_id == images.c.image_id)
        .where(
            predictions.c.model_version == model_version,
            predictions.c.outcome == Outcome.FAILED,
            images.c.bucket == bucket,
            func.left(images.c.object_key, len(start)) == start,
            images.c.image_id > after,
        )
        .order_by(images.c.image_id)
        .limit(page_size)
    )
    return connection.execute(query).all()


def _listed_object(row: Row[Any]) -> ListedObject:
    return ListedObject(
        row.bucket, row.object_key.decode(), row.etag, row.size_bytes, row.last_modified.replace(tzinfo=UTC)
    )
