"""MySQL: what is already known of an image, and what became of it in a scan. Every method is one transaction."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from sniffer.adapters.mysql.decisions import Counted, StoredPrediction, WriteDecision, decide, reusable_hash
from sniffer.adapters.mysql.runs import open_run
from sniffer.adapters.mysql.schema import images, models, predictions
from sniffer.adapters.mysql.transactions import Transactions, naive_utc, utc_now
from sniffer.adapters.mysql.upserts import upsert
from sniffer.core.records import SETTLED, FencingToken, ListedObject, Outcome, Result

_MESSAGE_CHARS = 500
_PREDICTION_KEY = ("image_id", "model_version")


@dataclasses.dataclass(frozen=True, slots=True)
class RankedImage:
    """One row of a ranking by score, for people."""

    bucket: str
    key: str
    score: float
    flagged: bool


@dataclasses.dataclass(frozen=True, slots=True)
class _Write:
    """Who writes, and for which run of which scan."""

    token: FencingToken
    writer: int
    rescan: bool


class ImageRepository:
    """Images and the predictions about them. Every method is one transaction."""

    def __init__(self, transactions: Transactions) -> None:
        self._transact = transactions.transact
        self._writer = secrets.randbits(63)

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
            query += " AND p.scan_number = (SELECT number FROM scans WHERE scan_id = %s)"
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
        self,
        results: Sequence[Result],
        *,
        model_version: int,
        token: FencingToken,
        decoder_version: int,
        rescan: bool = False,
    ) -> list[Outcome]:
        """Store what became of these images in one transaction, and say for each how it now counts in this scan.

        A settled result is never overwritten (with `rescan`: never one of this very scan), so a late duplicate
        changes nothing: it counts as what is stored, or as `unchanged` when another scan stored it first. An
        unreadable image is settled for the decoder that gave it up, and not for a newer one. Idempotent.
        Raises SupersededRun when a newer run of the scan has taken over; then nothing is stored.
        """
        if not results:
            return []
        write = _Write(token, self._writer, rescan)
        return self._transact(lambda connection: _record(connection, results, model_version, decoder_version, write))

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
    connection: Connection, results: Sequence[Result], model_version: int, decoder_version: int, write: _Write
) -> list[Outcome]:
    run = open_run(connection, write.token, write.writer)
    # In the order of the unique key, so that two writers of the same images queue up rather than deadlock.
    by_identity = {result.image.identity: result for result in sorted(results, key=lambda r: r.image.identity)}
    image_rows = [_image_row(identity, result) for identity, result in by_identity.items()]
    _upsert(connection, "images", image_rows, {"content_hash": "COALESCE({new}, images.content_hash)"})
    # The upsert holds the images' row locks: nobody else can decide about these images before we commit.
    stored = _stored(connection, list(by_identity), model_version)
    rows, counted = [], {}
    remembered: dict[str, list[int]] = {}
    for identity, result in by_identity.items():
        image_id, before = stored[identity]
        decision = decide(before, result, token=write.token, rescan=write.rescan, decoder_version=decoder_version)
        counted[identity] = decision.counts.outcome
        run.count(identity, decision, flagged=result.score is not None and result.score >= run.threshold)
        if decision.replaces:
            fixed = {"image_id": image_id, "model_version": model_version, "decoder_version": None}
            if result.outcome is Outcome.UNREADABLE:
                fixed["decoder_version"] = decoder_version
            rows.append(fixed | _prediction_row(result, decision))
        elif before is not None and decision.counted_for not in (None, before.counted_for):
            remembered.setdefault(decision.counted_for.encode(), []).append(image_id)
    if rows:
        _upsert(connection, "predictions", rows, {name: "{new}" for name in rows[0] if name not in _PREDICTION_KEY})
    for counted_for, image_ids in remembered.items():
        beside = update(predictions).where(
            predictions.c.model_version == model_version, predictions.c.image_id.in_(image_ids)
        )
        connection.execute(beside.values(counted_for=counted_for))
    run.store(connection)
    return [counted[result.image.identity] for result in results]


def _upsert(connection: Connection, table: str, rows: list[dict[str, Any]], updates: dict[str, str]) -> None:
    upsert(connection, table, list(rows[0]), [list(row.values()) for row in rows], updates)


def _stored(
    connection: Connection, identities: Sequence[bytes], model_version: int
) -> dict[bytes, tuple[int, StoredPrediction | None]]:
    query = (
        "SELECT i.identity, i.image_id, p.outcome, p.error_code, p.scan_number, p.run_number, p.decoder_version,"
        " p.counted_for FROM images i LEFT JOIN predictions p ON p.image_id = i.image_id AND p.model_version = %s"
        f" WHERE i.identity IN ({','.join(['%s'] * len(identities))})"
    )
    rows = connection.exec_driver_sql(query, (model_version, *identities))
    return {row.identity: (row.image_id, _stored_prediction(row)) for row in rows}


def _stored_prediction(row: Row[Any]) -> StoredPrediction | None:
    if row.outcome is None:
        return None
    token = FencingToken(row.scan_number, row.run_number)
    return StoredPrediction(
        Counted(token, Outcome(row.outcome), row.error_code or ""),
        row.decoder_version,
        Counted.parse(row.counted_for) if row.counted_for else None,
    )


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


def _prediction_row(result: Result, decision: WriteDecision) -> dict[str, Any]:
    token = decision.counts.token
    return {
        "scan_number": token.scan_number,
        "run_number": token.run_number,
        "outcome": str(result.outcome),
        "score": result.score,
        "rendering": result.rendering,
        "scored_hash": reusable_hash(result),
        "error_code": result.error_code,
        "error_message": result.error_message and result.error_message[:_MESSAGE_CHARS],
        "scored_at": utc_now(),
        "counted_for": decision.counted_for and decision.counted_for.encode(),
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
