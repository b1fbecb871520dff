"""MySQL: what is already known of an image, and what became of it in a scan. Every method is one transaction."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC
from typing import Any

from sqlalchemy import Connection, Row, and_, func, or_, select

from sniffer.adapters.mysql.holds import is_held
from sniffer.adapters.mysql.parts import Parts
from sniffer.adapters.mysql.schema import images, models, predictions, scans
from sniffer.adapters.mysql.storing import Writing, store_results
from sniffer.adapters.mysql.transactions import Transactions
from sniffer.core.records import FencingToken, ListedObject, Outcome, Result, Score, StoredOutcome

_BEFORE_RUNS = 0
"""The run number of what older releases wrote, which took any 404 for a deletion."""
_RANKED = 10_000


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
        self._writer = secrets.randbits(63)
        self._look_ups, self._hashes, self._stores = Parts(), Parts(), Parts()

    def look_up(
        self, identities: Sequence[bytes], model_version: int, *, scan_id: str | None = None
    ) -> dict[bytes, StoredOutcome]:
        """What that model version's scans have stored of these images; without an entry: nothing.

        With `scan_id`, only results of that very scan count (what a resumed rescan has done so far).
        Cost: one indexed query whatever the size of the tables.
        """
        if not identities:
            return {}
        rows = self._look_ups.each(identities, lambda part: self._found(part, model_version, scan_id))
        return {row[0]: StoredOutcome(Outcome(row[1]), row[2] or "", row[3], row[4]) for row in rows}

    def _found(self, identities: Sequence[bytes], model_version: int, scan_id: str | None) -> Sequence[Any]:
        # Driver-level SQL: compiling a thousand bound parameters costs more than the look-up itself.
        query = (
            "SELECT i.identity, p.outcome, p.error_code, p.score, p.decoder_version"
            " FROM images i STRAIGHT_JOIN predictions p ON p.image_id = i.image_id"
            f" WHERE p.model_version = %s AND i.identity IN ({','.join(['%s'] * len(identities))})"
        )
        parameters: tuple[Any, ...] = (model_version, *identities)
        if scan_id is not None:
            query += " AND p.scan_number = (SELECT number FROM scans WHERE scan_id = %s)"
            parameters += (scan_id,)
        return self._transact(lambda connection: connection.exec_driver_sql(query, parameters).all())

    def settled(
        self, identities: Sequence[bytes], model_version: int, decoder_version: int, *, scan_id: str | None = None
    ) -> dict[bytes, float | None]:
        """Which of these images need no second try, with their scores; as look_up()."""
        found = self.look_up(identities, model_version, scan_id=scan_id)
        return {identity: stored.score for identity, stored in found.items() if stored.is_settled(decoder_version)}

    def inaccessible(self, identities: Sequence[bytes], model_version: int) -> dict[bytes, str]:
        """The codes of those of these images that could not be read when they were last asked for; as look_up()."""
        found = self.look_up(identities, model_version)
        return {identity: stored.code for identity, stored in found.items() if stored.outcome is Outcome.INACCESSIBLE}

    def seen_by_others(self, identities: Sequence[bytes], scan_id: str) -> set[bytes]:
        """Which of these images another scan has a row of, by whatever model version. Cost: as look_up()."""
        if not identities:
            return set()

        def seen(part: Sequence[bytes]) -> Sequence[Any]:
            query = (
                "SELECT DISTINCT i.identity FROM images i STRAIGHT_JOIN predictions p ON p.image_id = i.image_id"
                f" WHERE i.identity IN ({','.join(['%s'] * len(part))})"
                " AND p.scan_number <> COALESCE((SELECT number FROM scans WHERE scan_id = %s), -1)"
            )
            return self._transact(lambda connection: connection.exec_driver_sql(query, (*part, scan_id)).all())

        return {row[0] for row in self._look_ups.each(identities, seen)}

    def scored_bytes(self, content_hashes: Sequence[bytes], model_version: int) -> dict[bytes, Score]:
        """Scores that this model version already gave to these very bytes, by content hash; none of a held scan."""
        query = select(predictions.c.scored_hash, predictions.c.score, predictions.c.rendering).where(
            predictions.c.model_version == model_version, ~is_held()
        )

        def found(part: Sequence[bytes]) -> Sequence[Any]:
            asked = query.where(predictions.c.scored_hash.in_(part))
            return self._transact(lambda connection: connection.execute(asked).all())

        return {row[0]: Score(*row[1:]) for row in self._hashes.each(content_hashes, found)}

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

        What is above the server's max_allowed_packet goes in several; SettingsError for one image that is.

        A settled result is never overwritten (with `rescan`: never one of this very scan), so a late duplicate
        changes nothing: it counts as what is stored, or as `unchanged` when another scan stored it first. An
        unreadable image is settled for the decoder that gave it up, and not for a newer one. Idempotent.
        Raises SupersededRun when a newer run of the scan has taken over; then nothing is stored.
        """
        if not results:
            return []
        write = Writing(token, self._writer, rescan)
        return self._stores.each(
            results,
            lambda part: self._transact(
                lambda connection: store_results(connection, part, model_version, decoder_version, write)
            ),
        )

    def failed_objects(
        self,
        bucket: str,
        prefix: str,
        model_version: int,
        decoder_version: int,
        *,
        scan_id: str = "",
        page_size: int = 1000,
    ) -> Iterator[list[ListedObject]]:
        """Pages of the objects that a retry may help: failed, inaccessible, or gone before deletions were proven.

        What the newest run of `scan_id` has tried again by now is left out, and so are failures that another try would
        only repeat. Cost: the failures of that model version.
        """
        for outcome in (Outcome.FAILED, Outcome.INACCESSIBLE, Outcome.GONE):
            after = (-1, -1)
            while page := self._transact(
                lambda connection, outcome=outcome, after=after: _failed_page(  # type: ignore[misc]
                    connection, outcome, model_version, bucket, prefix, scan_id, after, page_size
                )
            ):
                after = (page[-1].scan_number, page[-1].image_id)
                tried = (StoredOutcome(outcome, row.error_code or "", None, row.decoder_version) for row in page)
                yield [
                    _listed_object(row)
                    for row, stored in zip(page, tried, strict=True)
                    if not stored.is_settled(decoder_version)
                ]

    def inaccessible_objects(
        self, bucket: str, prefix: str, model_version: int, code: str, page_size: int = 1000
    ) -> Iterator[list[ListedObject]]:
        """Pages of the objects that could not be read when they were last asked for, with that code.

        Cost: what is inaccessible to that model version.
        """
        after = (-1, -1)
        while page := self._transact(
            lambda connection, after=after: _failed_page(  # type: ignore[misc]
                connection, Outcome.INACCESSIBLE, model_version, bucket, prefix, "", after, page_size
            )
        ):
            after = (page[-1].scan_number, page[-1].image_id)
            yield [_listed_object(row) for row in page if row.error_code == code]

    def top_images(self, model_version: int, count: int = 10, bucket: str | None = None) -> list[RankedImage]:
        """The highest-scored images of a model version, best first; those of one bucket only from the best _RANKED.

        Without those of a held scan.
        """
        best = (
            select(predictions.c.image_id, predictions.c.score)
            .where(predictions.c.model_version == model_version, predictions.c.score.is_not(None), ~is_held())
            .order_by(predictions.c.score.desc())
            .limit(count if bucket is None else _RANKED)
            .subquery()
        )
        threshold = select(models.c.threshold).where(models.c.version == model_version).scalar_subquery()
        query = (
            select(images.c.bucket, images.c.object_key, best.c.score, best.c.score >= threshold)
            .join_from(best, images, best.c.image_id == images.c.image_id)
            .order_by(best.c.score.desc(), images.c.image_id)
            .limit(count)
        )
        if bucket is not None:
            query = query.where(images.c.bucket == bucket)
        rows = self._transact(lambda connection: connection.execute(query).all())
        return [RankedImage(row[0], row[1].decode(), row[2], bool(row[3])) for row in rows]

    def recent_images(self, count: int) -> list[ListedObject]:
        """The newest images that a model, of whatever version, was asked about; newest first."""
        # Of each version the newest scans' rows from the end of an index: an order by time would sort all predictions.
        newest = [
            select(predictions.c.image_id)
            .where(predictions.c.model_version == version, predictions.c.outcome == Outcome.PREDICTED)
            .order_by(predictions.c.scan_number.desc(), predictions.c.image_id.desc())
            .limit(count)
            for version in self._transact(
                lambda connection: list(connection.execute(select(models.c.version)).scalars())
            )
        ]
        image_ids = {
            image_id
            for query in newest
            for image_id in self._transact(lambda connection, query=query: connection.execute(query).scalars().all())  # type: ignore[misc]
        }
        found = select(images).where(images.c.image_id.in_(sorted(image_ids, reverse=True)[:count]))
        rows = self._transact(lambda connection: connection.execute(found.order_by(images.c.image_id.desc())).all())
        return [_listed_object(row) for row in rows]


def _failed_page(
    connection: Connection,
    outcome: Outcome,
    model_version: int,
    bucket: str,
    prefix: str,
    scan_id: str,
    after: tuple[int, int],
    page_size: int,
) -> Sequence[Row[Any]]:
    start = prefix.encode()
    ours = connection.execute(select(scans.c.number, scans.c.run_number).where(scans.c.scan_id == scan_id)).first()
    scan_number, image_id = after
    query = (
        select(images, predictions.c.scan_number, predictions.c.error_code, predictions.c.decoder_version)
        .join(predictions, predictions.c.image_id == images.c.image_id)
        .where(
            predictions.c.model_version == model_version,
            predictions.c.outcome == outcome,
            images.c.bucket == bucket,
            func.left(images.c.object_key, len(start)) == start,
            or_(
                predictions.c.scan_number > scan_number,
                and_(predictions.c.scan_number == scan_number, predictions.c.image_id > image_id),
            ),
        )
        .order_by(predictions.c.scan_number, predictions.c.image_id)
        .limit(page_size)
    )
    if ours is not None:
        query = query.where(or_(predictions.c.scan_number != ours.number, predictions.c.run_number != ours.run_number))
    if outcome is Outcome.GONE:
        query = query.where(predictions.c.run_number == _BEFORE_RUNS)
    return connection.execute(query).all()


def _listed_object(row: Row[Any]) -> ListedObject:
    return ListedObject(
        row.bucket, row.object_key.decode(), row.etag, row.size_bytes, row.last_modified.replace(tzinfo=UTC)
    )
