"""MySQL: the scans, what was asked of them and how they ended. Every method is one transaction."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, select, text, update
from sqlalchemy.dialects.mysql import insert

from sniffer.adapters.mysql.half_done import take_up
from sniffer.adapters.mysql.holds import discarded_run, hold, refuse_held
from sniffer.adapters.mysql.plan_holds import lock_whole
from sniffer.adapters.mysql.recorded import recorded_scans
from sniffer.adapters.mysql.rests import leave_rest
from sniffer.adapters.mysql.runs import Tally, refuse_leased, refuse_superseded
from sniffer.adapters.mysql.schema import COUNT_COLUMNS, images, leases, predictions, scans, shards, tallies
from sniffer.adapters.mysql.transactions import Transactions, naive_utc, utc_now
from sniffer.core.errors import ContractError, IncompleteScan
from sniffer.core.key_ranges import KeyRange
from sniffer.core.measured_scan import MeasuredScan
from sniffer.core.recorded_scan import RecordedScan
from sniffer.core.records import Certificate, FailureSample, FencingToken, Lease, Outcome, OutcomeTally, ScanRequest

_GRACE_S = 300.0
"""So long after its lease a scan still pins its model version: MySQL may have been away, and it with us."""
_NOW = func.utc_timestamp(6)

_MEASURED_SCANS = 30
"""So many of the last scans are looked through for one to estimate by."""


class ScanRepository:
    """Scans, their counts and certificates. Every method is one transaction."""

    def __init__(self, transactions: Transactions) -> None:
        self._transact = transactions.transact

    def open(
        self, request: ScanRequest, model_version: int, threshold: float, *, holder: str = "", lease_s: float = 30.0
    ) -> FencingToken:
        """Note that `holder` runs the scan (again, after a resume), and fence every earlier run of it off.

        ScanInUse while another holder's lease is not over; ContractError when its id is of another bucket or range;
        IncompleteScan when it is a part of a shard that has ended early meanwhile;
        HeldScan while it is held, or another scan of its DAG run is.
        """

        def claim(connection: Connection) -> FencingToken:
            token = _open_scan(connection, request, model_version, threshold)
            _take_lease(connection, request.scan_id, token, holder, lease_s)
            return token

        return self._transact(claim)

    def renew(self, token: FencingToken, lease_s: float) -> None:
        """Keep the scan for `lease_s` from now on. SupersededRun when a newer run of it has begun.

        ContractError when its row was deleted.
        """

        def renew(connection: Connection) -> None:
            query = select(scans.c.scan_id, scans.c.run_number).where(scans.c.number == token.scan_number)
            found = connection.execute(query).first()
            if found is None:
                raise ContractError(f"the scan with the number {token.scan_number} is not in MySQL any more")
            refuse_superseded(found.scan_id, found.run_number, token.run_number)
            ours = update(leases).where(leases.c.scan_number == token.scan_number)
            connection.execute(ours.values(lease_until=_from_now(lease_s)))

        self._transact(renew)

    def close(self, certificate: Certificate) -> None:
        """Store the certificate and the final state. Idempotent; SupersededRun unless it is of the newest run.

        What a scan has scored whose certificate is held is in no view of flagged images from then on. Where the scan of
        a shard ended early, what it has left over becomes a further part of that shard.
        """
        self._transact(lambda connection: _close_scan(connection, certificate))

    def is_known(self, scan_id: str) -> bool:
        """Whether the scan has been opened before."""
        query = select(scans.c.scan_id).where(scans.c.scan_id == scan_id)
        return self._transact(lambda connection: connection.execute(query).first()) is not None

    def is_complete(self, scan_id: str) -> bool:
        """Whether the scan has ended with a certificate that holds, and was not started again since."""
        query = select(scans.c.state).where(scans.c.scan_id == scan_id)
        return bool(self._transact(lambda connection: connection.execute(query).scalar()) == "complete")

    def certificate(self, scan_id: str) -> Certificate | None:
        """The certificate of a scan that has ended, or None."""
        query = select(scans.c.certificate).where(scans.c.scan_id == scan_id)
        document = self._transact(lambda connection: connection.execute(query).scalar())
        return None if document is None else Certificate.parse(document)

    def of_run(self, name: str) -> tuple[RecordedScan, ...]:
        """The scans of an Airflow run by its name, with which their ids begin; not each of their shards.

        Cost: by how many there are. However many shards, a few rows come back, and no certificate.
        """
        return self._transact(lambda connection: recorded_scans(connection, name))

    def tallies(self, token: FencingToken) -> tuple[OutcomeTally, ...]:
        """What that run has committed, by outcome and code. Cost: a few rows for each consumer it has had."""
        columns = (tallies.c.outcome, tallies.c.code, tallies.c.images, tallies.c.flagged, tallies.c.digest)
        query = select(*columns).where(
            tallies.c.scan_number == token.scan_number, tallies.c.run_number == token.run_number
        )
        found = self._transact(lambda connection: connection.execute(query).all())
        totals: dict[tuple[str, str], Tally] = {}
        for row in found:
            total = totals.setdefault((row.outcome, row.code), Tally())
            total.merge(Tally(row.images, row.flagged, int.from_bytes(row.digest, "big")))
        return tuple(
            OutcomeTally(Outcome(outcome), code, total.images, total.flagged, total.digest)
            for (outcome, code), total in sorted(totals.items())
        )

    def flagged(self, token: FencingToken) -> int:
        """How many images that scan has scored at or above its threshold, in all its runs. Cost: as tallies()."""
        query = select(func.coalesce(func.sum(tallies.c.flagged), 0)).where(
            tallies.c.scan_number == token.scan_number,
            tallies.c.run_number > discarded_run(token.scan_number),
            tallies.c.outcome.in_((Outcome.PREDICTED, Outcome.REUSED)),
        )
        return int(self._transact(lambda connection: connection.execute(query).scalar_one()))

    def unreadable(self, token: FencingToken) -> int:
        """How many images that scan has found unreadable, in all its runs. Cost: as tallies()."""
        query = select(func.coalesce(func.sum(tallies.c.images), 0)).where(
            tallies.c.scan_number == token.scan_number, tallies.c.outcome == Outcome.UNREADABLE
        )
        return int(self._transact(lambda connection: connection.execute(query).scalar_one()))

    def failure_samples(self, token: FencingToken, model_version: int, count: int) -> tuple[FailureSample, ...]:
        """Examples of images of that scan without a score: the failed first, then inaccessible, gone, unreadable."""
        query = (
            select(
                images.c.object_key,
                predictions.c.outcome,
                predictions.c.error_code,
                predictions.c.error_message,
            )
            .join_from(predictions, images, predictions.c.image_id == images.c.image_id)
            .where(predictions.c.model_version == model_version, predictions.c.scan_number == token.scan_number)
            .order_by(predictions.c.image_id)
            .limit(count)
        )

        def read(connection: Connection) -> tuple[FailureSample, ...]:
            samples: list[FailureSample] = []
            for outcome in (Outcome.FAILED, Outcome.INACCESSIBLE, Outcome.GONE, Outcome.UNREADABLE):
                rows = connection.execute(query.where(predictions.c.outcome == outcome)).all()
                samples += [FailureSample(row[0].decode(), outcome, row[2], row[3]) for row in rows]
            return tuple(samples[:count])

        return self._transact(read)

    def running_versions(self) -> set[int]:
        """The model versions that living scans are pinned to: those with a lease, or with one that ended just now."""
        query = (
            select(scans.c.model_version)
            .distinct()
            .join_from(leases, scans, scans.c.number == leases.c.scan_number)
            .where(is_living())
        )
        return self._transact(lambda connection: set(connection.execute(query).scalars()))

    def images_per_day(self, days: int = 7) -> float | None:
        """Images that got a score, a day, over the last `days` with scans that ended in them; None without any."""
        query = select(func.sum(scans.c.predicted + scans.c.reused), func.min(scans.c.finished_at)).where(
            scans.c.finished_at >= naive_utc(datetime.now(UTC) - timedelta(days=days)),
            # What a scan in shards has scored is counted in the rows of its shards.
            scans.c.number.not_in(select(shards.c.scan_number)),
        )
        scored, first = self._transact(lambda connection: connection.execute(query).one())
        if first is None:
            return None
        # One night's scan stands for its day, also when it ended a minute ago.
        span: timedelta = utc_now() - first + timedelta(days=1)
        return float(scored) / max(1.0, span / timedelta(days=1))

    def measured(self, model_version: int) -> tuple[MeasuredScan, ...]:
        """The last scans by that model version that measured their pace, newest first; at most _MEASURED_SCANS."""
        query = (
            select(scans.c.certificate)
            .where(scans.c.certificate.is_not(None), scans.c.model_version == model_version)
            .order_by(scans.c.finished_at.desc())
            .limit(_MEASURED_SCANS)
        )
        documents = self._transact(lambda connection: list(connection.execute(query).scalars()))
        return tuple(
            MeasuredScan(
                scan_id=found.scan_id,
                bucket=found.bucket,
                images=found.handed_out,
                duration_s=found.duration_s,
                images_per_s=found.steady_images_per_s,
                consumers=found.consumers,
            )
            for found in map(Certificate.parse, filter(None, documents))
            if found.steady_images_per_s > 0
        )


def is_living() -> ColumnElement[bool]:
    """Of a lease: its scan runs, as far as one can tell. One that was killed is taken for dead after _GRACE_S."""
    return leases.c.lease_until >= _from_now(-_GRACE_S)


def _row_of(request: ScanRequest, model_version: int, threshold: float) -> dict[str, Any]:
    """The columns of a scan that begins."""
    return {
        "bucket": request.bucket,
        "prefix": request.prefix.encode(),
        "source_digest": request.source_digest,
        "window_since": request.since and naive_utc(request.since),
        "window_until": request.until and naive_utc(request.until),
        "model_version": model_version,
        "threshold": threshold,
        "dag_run": request.dag_run,
        "request": json.loads(json.dumps(dataclasses.asdict(request), default=str)),
        "state": "running",
        "certificate": None,
        "started_at": utc_now(),
        "finished_at": None,
    } | dict.fromkeys(COUNT_COLUMNS, 0)


def insert_scan(connection: Connection, request: ScanRequest, model_version: int, threshold: float) -> None:
    """Have a row of that scan. Of two that do so at once, one inserts; both then queue up for its lock."""
    row = _row_of(request, model_version, threshold)
    first = insert(scans).values(scan_id=request.scan_id, run_number=0, **row)
    connection.execute(first.on_duplicate_key_update(run_number=scans.c.run_number))


def _open_scan(connection: Connection, request: ScanRequest, model_version: int, threshold: float) -> FencingToken:
    row = _row_of(request, model_version, threshold)
    # Before its row is locked, shared: two that begin at once would wait for one another.
    take_up(connection, request.scan_id)
    whole = lock_whole(connection, request.scan_id)
    insert_scan(connection, request, model_version, threshold)
    columns = (scans.c.bucket, scans.c.prefix, scans.c.number, scans.c.run_number, scans.c.request)
    known = connection.execute(select(*columns).where(scans.c.scan_id == request.scan_id).with_for_update()).one()
    if (known.bucket, known.prefix) != (request.bucket, request.prefix.encode()):
        raise ContractError(
            f"scan {request.scan_id} was of s3://{known.bucket}/{known.prefix.decode()}: resume it with the same "
            "bucket and prefix, or leave --scan-id away"
        )
    if not known.run_number and connection.execute(select(shards).where(shards.c.scan_number == known.number)).first():
        raise ContractError(
            f"scan {request.scan_id} is cut into shards: scan each of them with --shard-of, or leave --scan-id away"
        )
    if whole is not None:
        # Once its row is locked, which whoever ends a part early does, too.
        _refuse_moved_ends(connection, request)
        # What an earlier run of it has listed was handed out: of the approved growth, that stays taken.
        del row["listed"]
    # Its counts would be those of two shards. An older release wrote no range, and knew of none.
    keys = KeyRange(**known.request.get("key_range", {}))
    if keys != request.key_range:
        raise _other_keys(request, keys)
    refuse_held(connection, known.number, request)
    token = FencingToken(known.number, known.run_number + 1)
    connection.execute(update(scans).where(scans.c.number == known.number).values(run_number=token.run_number, **row))
    return token


def _refuse_moved_ends(connection: Connection, request: ScanRequest) -> None:
    """IncompleteScan where an end of a part is not that of the plan any more, whose whole the caller has locked.

    ContractError where both are others: most likely they were never read there.
    """
    columns = (shards.c.after_key, shards.c.up_to_key)
    after, up_to = connection.execute(select(*columns).where(shards.c.part_scan_id == request.scan_id)).one()
    keys = KeyRange(after.decode(), None if up_to is None else up_to.decode())
    if keys == request.key_range:
        return
    if keys.after == request.key_range.after or keys.up_to == request.key_range.up_to:
        raise IncompleteScan(
            f"scan {request.scan_id} is of the keys {keys} by now, since it ended early in another process, or an end "
            "of them was erased: run the same command again, which scans what is left of its shard"
        )
    raise _other_keys(request, keys)


def _other_keys(request: ScanRequest, keys: KeyRange) -> ContractError:
    return ContractError(
        f"scan {request.scan_id} is of the keys {keys}, not {request.key_range}: give it the same --after and --up-to, "
        "or leave --scan-id away"
    )


def _take_lease(connection: Connection, scan_id: str, token: FencingToken, holder: str, lease_s: float) -> None:
    """While the scan's row is locked. By the database's clock alone, since those of the machines differ."""
    left_us = func.timestampdiff(text("MICROSECOND"), _NOW, leases.c.lease_until)
    query = select(leases.c.holder, leases.c.lease_until, left_us).where(leases.c.scan_number == token.scan_number)
    found = connection.execute(query).first()
    refuse_leased(found and Lease(scan_id, found.holder, found.lease_until, found[2] / 1e6), holder)
    row = {"lease_until": _from_now(lease_s), "holder": holder}
    statement = insert(leases).values(scan_number=token.scan_number, **row)
    connection.execute(statement.on_duplicate_key_update(row))


def _from_now(seconds: float) -> ColumnElement[datetime]:
    return func.timestampadd(text("MICROSECOND"), int(seconds * 1e6), _NOW)


def _closing_row(certificate: Certificate) -> dict[str, Any]:
    """The columns of a scan that ends with that certificate."""
    return {
        "listed": certificate.listed,
        "state": "held" if certificate.is_held else "complete" if certificate.holds else "incomplete",
        "images_per_s": certificate.images_per_s,
        "certificate": certificate.document(),
        "finished_at": utc_now(),
    } | {str(outcome): count for outcome, count in certificate.outcomes.items()}


def store_sum(connection: Connection, certificate: Certificate) -> None:
    """Keep the certificate of a scan in shards, whose row is locked, as that of the whole."""
    mine = update(scans).where(scans.c.scan_id == certificate.scan_id)
    connection.execute(mine.values(_closing_row(certificate)))


def _close_scan(connection: Connection, certificate: Certificate) -> None:
    columns = (scans.c.number, scans.c.run_number, scans.c.request)
    query = select(*columns).where(scans.c.scan_id == certificate.scan_id)
    lock_whole(connection, certificate.scan_id)
    found = connection.execute(query.with_for_update()).first()
    if found is None:
        raise ContractError(f"scan {certificate.scan_id} is not in MySQL: its certificate cannot be stored")
    refuse_superseded(certificate.scan_id, found.run_number, certificate.run_number)
    connection.execute(delete(leases).where(leases.c.scan_number == found.number))
    row = _closing_row(certificate)
    # Also of one that is held: whether it is released or discarded, its keys end there, and the rest is another's.
    if certificate.rest_after is not None and not certificate.problems:
        leave_rest(connection, certificate)
        row |= {"request": found.request | {"key_range": dataclasses.asdict(certificate.key_range)}}
    connection.execute(update(scans).where(scans.c.number == found.number).values(row))
    if certificate.is_held:
        hold(connection, FencingToken(found.number, found.run_number), certificate.held)
