"""MySQL: what is deleted, by age and model version or by key, in batches that hold locks for a moment only."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, exists, insert, select, update

from sniffer.adapters.mysql.erased_ends import MOVED, ErasedEnds, Predicate, replace_ends, replaced_range
from sniffer.adapters.mysql.erased_keys import is_erased
from sniffer.adapters.mysql.review.tables import review_decisions
from sniffer.adapters.mysql.scans import is_living
from sniffer.adapters.mysql.schema import erasures, images, leases, models, predictions, scans, shards
from sniffer.adapters.mysql.transactions import Transactions, naive_utc, utc_now
from sniffer.core.model_records import ModelStatus
from sniffer.core.retention_records import Erasure, Removed
from sniffer.core.text import printable

ERASED = "(erased)"
"""Stands in a certificate in place of a key that was erased."""

_CERTIFICATES = 200


class RetentionRepository:
    """What may go, and its deletion. Every method but the iterators is one transaction, they are one for each batch."""

    def __init__(self, transactions: Transactions) -> None:
        self._transact = transactions.transact

    def versions_in_use(self) -> dict[int, str]:
        """The model versions that production needs, and what for: `stable` or `previous`."""
        kept = (ModelStatus.STABLE, ModelStatus.PREVIOUS)
        query = select(models.c.version, models.c.status).where(models.c.status.in_(kept))
        return dict(self._transact(lambda connection: [(row[0], row[1]) for row in connection.execute(query)]))

    def running_scans(self, *, model_versions: Sequence[int] = (), bucket: str | None = None) -> list[str]:
        """The ids of the scans that run, of one bucket or by these versions only. Cost: as many rows."""
        query = select(scans.c.scan_id).join_from(leases, scans, scans.c.number == leases.c.scan_number)
        query = query.where(is_living())
        if model_versions:
            query = query.where(scans.c.model_version.in_(model_versions))
        if bucket is not None:
            query = query.where(scans.c.bucket == bucket)
        return self._transact(lambda connection: list(connection.execute(query.order_by(scans.c.number)).scalars()))

    def last_image(self) -> int:
        """The highest number of an image, for a progress; 0 without any."""
        query = select(images.c.image_id).order_by(images.c.image_id.desc()).limit(1)
        return self._transact(lambda connection: connection.execute(query).scalar() or 0)

    def prune(
        self, *, scored_before: datetime | None, model_versions: Sequence[int], batch_rows: int, dry_run: bool = False
    ) -> Iterator[tuple[int, Removed]]:
        """Delete results that match all that is given, and images without any result or decision, in one walk.

        Yields after each batch the number of its last image, and what went (with `dry_run`: would go).
        """
        rules: list[ColumnElement[bool]] = []
        if scored_before is not None:
            rules.append(predictions.c.scored_at < naive_utc(scored_before))
        if model_versions:
            rules.append(predictions.c.model_version.in_(model_versions))
        after = 0
        while True:
            found = self._transact(
                lambda connection, after=after: _prune_batch(connection, rules, after, batch_rows, dry_run)  # type: ignore[misc]
            )
            if found is None:
                return
            yield found
            after = found[0]

    def count_keys(self, bucket: str, key: str | None, prefix: str) -> int:
        """How many images (one for each version of an object seen) an erasure would take. Cost: as many rows."""
        pages = self._erasable(bucket, key, prefix, batch_rows=10_000, advance=True)
        return sum(len(page) for page in pages)

    def erase(self, bucket: str, key: str | None, prefix: str, *, batch_rows: int) -> Iterator[Removed]:
        """Delete every row of that key, or of all keys with that prefix; yields after each batch what went.

        Cost: the rows that go, by an index. May be run again after an interruption.
        """
        for page in self._erasable(bucket, key, prefix, batch_rows=batch_rows, advance=False):
            yield self._transact(lambda connection, page=page: _delete_images(connection, page))  # type: ignore[misc]

    def _erasable(
        self, bucket: str, key: str | None, prefix: str, *, batch_rows: int, advance: bool
    ) -> Iterator[list[int]]:
        """Pages of numbers of images; without `advance`, each page is of what is left when it is asked for."""
        query = select(images.c.image_id).where(images.c.bucket == bucket, *is_erased(key, prefix))
        after = 0
        while True:
            page = query.where(images.c.image_id > after).order_by(images.c.image_id).limit(batch_rows)
            found = self._transact(lambda connection, page=page: list(connection.execute(page).scalars()))  # type: ignore[misc]
            if not found:
                return
            yield found
            if advance:
                after = found[-1]

    def erase_ends(self, bucket: str, key: str | None, prefix: str) -> ErasedEnds:
        """Put other ends in the place of those of the bucket's shards that name such a key; see erased_ends.

        A transaction for each scan in shards. May be run again after an interruption.
        """
        erased = _erased_names(key, prefix)
        query = select(scans.c.number).where(
            scans.c.bucket == bucket, exists().where(shards.c.scan_number == scans.c.number)
        )
        replaced = ErasedEnds()
        for number in self._transact(lambda connection: list(connection.execute(query).scalars())):

            def replace(connection: Connection, number: int = number) -> ErasedEnds:
                connection.execute(select(scans.c.number).where(scans.c.number == number).with_for_update()).all()
                return replace_ends(connection, number, erased)

            replaced += self._transact(replace)
        return replaced

    def erase_from_certificates(self, bucket: str, key: str | None, prefix: str) -> int:
        """Take these keys out of what the bucket's certificates and requests say; returns how many have changed."""
        shown = _Shown(key, prefix)
        changed, after = 0, 0
        while True:
            page = (
                select(scans.c.number, scans.c.certificate, scans.c.request)
                .where(scans.c.bucket == bucket, scans.c.number > after)
                .order_by(scans.c.number)
                .limit(_CERTIFICATES)
            )
            found = self._transact(lambda connection, page=page: connection.execute(page).all())  # type: ignore[misc]
            if not found:
                return changed
            after = found[-1].number
            changed += self._replace([number for number, _ in shown.different(found)], shown)

    def _replace(self, numbers: Sequence[int], shown: _Shown) -> int:
        """Take the keys out of these scans, as they are once their rows are locked: somebody may just release one."""
        query = select(scans).where(scans.c.number.in_(numbers)).order_by(scans.c.number).with_for_update()

        def replace(connection: Connection) -> int:
            different = dict(shown.different(connection.execute(query).all()))
            for number, row in different.items():
                connection.execute(update(scans).where(scans.c.number == number).values(row))
            return len(different)

        return self._transact(replace) if numbers else 0

    def record(self, erasure: Erasure) -> None:
        """Keep the record that this is to be erased, or, with its counts, that it was."""
        removed = erasure.removed
        row: dict[str, Any] = {
            "bucket": erasure.bucket,
            "kind": erasure.kind,
            "target_digest": bytes.fromhex(erasure.target_digest),
            "requested_by": erasure.requested_by,
            "reason": erasure.reason,
            "images": removed and removed.images,
            "predictions": removed and removed.predictions,
            "certificates": erasure.certificates,
            "copies": erasure.copies,
            "recorded_at": utc_now(),
        }
        self._transact(lambda connection: connection.execute(insert(erasures).values(row)))

    def erasures(self, bucket: str) -> list[Erasure]:
        """The records of a bucket's erasures, in their order."""
        query = select(erasures).where(erasures.c.bucket == bucket).order_by(erasures.c.number)
        rows = self._transact(lambda connection: connection.execute(query).all())
        return [
            Erasure(
                row.bucket,
                row.kind,
                row.target_digest.hex(),
                row.requested_by,
                row.reason,
                None if row.images is None else Removed(row.predictions, row.images),
                row.certificates,
                row.copies,
            )
            for row in rows
        ]


def target_digest(target: str) -> str:
    """The SHA-256 of a key or a prefix, as `erasures` has it."""
    return hashlib.sha256(target.encode()).hexdigest()


def _prune_batch(
    connection: Connection, rules: Sequence[ColumnElement[bool]], after: int, batch_rows: int, dry_run: bool
) -> tuple[int, Removed] | None:
    page = select(images.c.image_id).where(images.c.image_id > after).order_by(images.c.image_id).limit(batch_rows)
    image_ids = list(connection.execute(page).scalars())
    if not image_ids:
        return None
    key = (predictions.c.image_id, predictions.c.model_version)
    goes = select(*key).where(predictions.c.image_id.in_(image_ids), *rules)
    found = [tuple(row) for row in connection.execute(goes)]
    touched = sorted({image_id for image_id, _ in found})
    if not found:
        return image_ids[-1], Removed()
    if dry_run:
        kept = {*_with_results(connection, touched, but=found), *_decided(connection, touched)}
        return image_ids[-1], Removed(len(found), len(touched) - len(kept))
    # A storing transaction locks the images' rows first, too: whoever stores a result of one of them comes before
    # this, and keeps the image, or after it, and makes it anew.
    _lock(connection, touched)
    gone = connection.execute(delete(predictions).where(predictions.c.image_id.in_(touched), *rules)).rowcount
    without = sorted(set(touched) - set(_with_results(connection, touched)) - set(_decided(connection, touched)))
    removed = connection.execute(delete(images).where(images.c.image_id.in_(without))).rowcount if without else 0
    return image_ids[-1], Removed(gone, removed)


def _with_results(connection: Connection, image_ids: Sequence[int], but: Sequence[Any] = ()) -> Iterator[int]:
    query = select(predictions.c.image_id, predictions.c.model_version).where(predictions.c.image_id.in_(image_ids))
    left_out = set(but)
    return (row[0] for row in connection.execute(query).all() if tuple(row) not in left_out)


def _decided(connection: Connection, image_ids: Sequence[int]) -> list[int]:
    """Those of these images that reviewers have decided: what they said is a label, and stays until it is erased."""
    query = select(review_decisions.c.image_id).where(review_decisions.c.image_id.in_(image_ids)).distinct()
    return list(connection.execute(query).scalars())


def _delete_images(connection: Connection, image_ids: Sequence[int]) -> Removed:
    _lock(connection, image_ids)
    results = connection.execute(delete(predictions).where(predictions.c.image_id.in_(image_ids))).rowcount
    return Removed(results, connection.execute(delete(images).where(images.c.image_id.in_(image_ids))).rowcount)


def _lock(connection: Connection, image_ids: Sequence[int]) -> None:
    # In the order of the identities, as whoever stores them does: so they queue up, and do not deadlock.
    query = select(images.c.image_id).where(images.c.image_id.in_(image_ids)).order_by(images.c.identity)
    connection.execute(query.with_for_update()).all()


def _erased_names(key: str | None, prefix: str) -> Predicate:
    """Whether a key is to be erased; "" is no key, but an end that is none."""
    return (lambda name: name == key) if key else (lambda name: name.startswith(prefix) and name != "")


class _Shown:
    """What a certificate says, without the keys that were erased, however they are written there."""

    def __init__(self, key: str | None, prefix: str) -> None:
        self._is_erased = _erased_names(key, prefix)
        name = key or prefix
        ways = {name, printable(name), repr(name)[1:-1]} - {""}
        rest = "" if key else r"[^\s'\"`,;]*"
        self._pattern = re.compile("|".join(f"(?:{re.escape(way)}){rest}" for way in ways)) if ways else None

    def different(self, found: Sequence[Row[Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Of each scan that names such a key, its number, and what its columns are to be."""
        for row in found:
            columns: dict[str, Any] = {}
            if row.certificate and (cleaned := self._cleaned(row.certificate)) != row.certificate:
                columns["certificate"] = cleaned
            if (asked := self._without_ends(row.request)) != row.request:
                columns["request"] = asked
            if columns:
                yield row.number, columns

    def _cleaned(self, document: dict[str, Any]) -> dict[str, Any]:
        """The certificate with ERASED in place of each of these keys."""
        samples = [
            sample | {"key": ERASED, "message": ""} if self._is_erased(sample["key"]) else sample
            for sample in document["failure_samples"]
        ]
        ended = self._without_ends(document)
        if ended != document:
            ended |= {"warnings": [*document.get("warnings", ()), MOVED]}
        texts = {name: [self._without(text) for text in ended.get(name, ())] for name in ("problems", "warnings")}
        return ended | {"failure_samples": samples} | {name: found for name, found in texts.items() if found}

    def _without_ends(self, document: dict[str, Any]) -> dict[str, Any]:
        """A certificate or a request of a range that is no part of a plan, whose ends were replaced before."""
        known = document.get("key_range")
        if not known:
            return document
        after, up_to = replaced_range(known["after"], known["up_to"], self._is_erased)
        if (after, up_to) == (known["after"], known["up_to"]):
            return document
        changes: dict[str, Any] = {"key_range": {"after": after, "up_to": up_to}}
        return document | changes | ({"rest_after": up_to} if document.get("rest_after") is not None else {})

    def _without(self, text: str) -> str:
        return text if self._pattern is None else self._pattern.sub(ERASED, text)
