"""MySQL: scans whose flagged images are held back, the past that they are judged by, and what people decided."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    ScalarSelect,
    delete,
    exists,
    func,
    insert,
    select,
    union_all,
    update,
)

from sniffer.adapters.mysql.schema import hold_decisions, holds, predictions, scans, shards, tallies
from sniffer.adapters.mysql.transactions import Transactions, utc_now
from sniffer.core.errors import HeldScan, SettingsError
from sniffer.core.flag_records import Decided, Deciding, FlagCounts, HeldScanRecord, HoldDecision
from sniffer.core.records import Certificate, FencingToken, Outcome, ScanRequest

_SCORED = (Outcome.PREDICTED, Outcome.REUSED)
_REASON_CHARS = 500
_DISCARDED = "discarded"


class HoldRepository:
    """What is held, and why. Every method but discard() is one transaction; that has several."""

    def __init__(self, transactions: Transactions) -> None:
        self._transact = transactions.transact

    def flag_counts(self, token: FencingToken) -> FlagCounts:
        """What that scan has scored in all its runs since it was last discarded. Cost: as ScanRepository.tallies()."""
        query = select(
            func.coalesce(func.sum(tallies.c.images), 0), func.coalesce(func.sum(tallies.c.flagged), 0)
        ).where(
            tallies.c.scan_number == token.scan_number,
            tallies.c.run_number > discarded_run(token.scan_number),
            tallies.c.outcome.in_(_SCORED),
        )
        scored, flagged = self._transact(lambda connection: connection.execute(query).one())
        return FlagCounts(int(scored), int(flagged))

    def flag_history(self, token: FencingToken, count: int) -> tuple[FlagCounts, ...]:
        """The same of the last scans that began before that one, newest first: at most `count` of them.

        Of the same source, by the same model version and threshold, and complete: what is held, was discarded or has
        not ended is no past. A scan in shards is one of them, with all its parts, once it is complete: its shards are
        no past of each other. Cost: a few rows for each of them, or its parts, and its consumers.
        """

        def read(connection: Connection) -> tuple[FlagCounts, ...]:
            ours = connection.execute(select(scans).where(scans.c.number == token.scan_number)).one()
            earlier = (
                select(scans.c.number, scans.c.discarded_run)
                .where(
                    scans.c.source_digest == ours.source_digest,
                    scans.c.model_version == ours.model_version,
                    scans.c.state == "complete",
                    scans.c.number < ours.number,
                    scans.c.threshold == ours.threshold,
                    ~exists().where(shards.c.part_scan_id == scans.c.scan_id),
                )
                .order_by(scans.c.number.desc())
                .limit(count)
                .subquery()
            )
            part = scans.alias()
            parts = (
                select(earlier.c.number.label("scan"), part.c.number, part.c.discarded_run)
                .join_from(earlier, shards, shards.c.scan_number == earlier.c.number)
                .join(part, part.c.scan_id == shards.c.part_scan_id)
            )
            alone = select(earlier.c.number.label("scan"), earlier.c.number, earlier.c.discarded_run)
            counted = union_all(alone, parts).subquery()
            query = (
                select(counted.c.scan, func.sum(tallies.c.images), func.sum(tallies.c.flagged))
                .join_from(counted, tallies, tallies.c.scan_number == counted.c.number)
                .where(tallies.c.run_number > counted.c.discarded_run, tallies.c.outcome.in_(_SCORED))
                .group_by(counted.c.scan)
                .order_by(counted.c.scan.desc())
            )
            return tuple(FlagCounts(int(row[1]), int(row[2])) for row in connection.execute(query))

        return self._transact(read)

    def release_of(self, token: FencingToken) -> str:
        """Who released that scan, and why, where that is the last word on it; empty otherwise."""
        query = (
            select(hold_decisions)
            .where(hold_decisions.c.scan_number == token.scan_number)
            .order_by(hold_decisions.c.number.desc())
            .limit(1)
        )
        last = self._transact(lambda connection: connection.execute(query).first())
        return "" if last is None or last.decision != HoldDecision.RELEASED else _by(last.decided_by, last.reason)

    def release(self, deciding: Deciding) -> Decided:
        """What the scan found counts from now on. SettingsError when it is not held, or is being discarded."""

        def release(connection: Connection) -> Decided:
            scan, held_for = _held_scan(connection, deciding.scan_id)
            if scan.state == _DISCARDED:
                raise SettingsError(
                    f"scan {scan.scan_id} is being discarded: run `sniffer discard {scan.scan_id}` again"
                )
            certificate = Certificate.parse(scan.certificate)
            row: dict[str, Any] = {
                "state": "incomplete" if certificate.problems else "complete",
                "certificate": scan.certificate
                | {"released": _by(deciding.by, deciding.reason), "holds": not certificate.problems},
            }
            connection.execute(update(scans).where(scans.c.number == scan.number).values(row))
            connection.execute(delete(holds).where(holds.c.scan_number == scan.number))
            _record(connection, scan, HoldDecision.RELEASED, deciding)
            finished = not certificate.problems
            return _decided(deciding, HoldDecision.RELEASED, held_for, is_finished=finished)

        return self._transact(release)

    def discard(self, deciding: Deciding, *, batch_rows: int = 1000) -> Decided:
        """Record that it begins, delete the scan's scores, and record what went. May be run again when interrupted.

        From its beginning on nobody writes for the scan any more, nor releases it; SettingsError when it is not held.
        """
        held_for = self._transact(lambda connection: _begin_discard(connection, deciding))
        results = sum(self.delete_scores(deciding.scan_id, batch_rows))

        def end(connection: Connection) -> None:
            scan, _ = _held_scan(connection, deciding.scan_id)
            _record(connection, scan, HoldDecision.DISCARDED, deciding, results)
            connection.execute(delete(holds).where(holds.c.scan_number == scan.number))

        self._transact(end)
        return _decided(deciding, HoldDecision.DISCARDED, held_for, results=results)

    def begin_discard(self, deciding: Deciding) -> None:
        """The first step of discard() alone."""
        self._transact(lambda connection: _begin_discard(connection, deciding))

    def delete_scores(self, scan_id: str, batch_rows: int) -> Iterator[int]:
        """Its second step: delete what the scan has scored; yields after each batch how many rows went."""
        query = select(scans.c.number, scans.c.model_version).where(scans.c.scan_id == scan_id)
        scan = self._transact(lambda connection: connection.execute(query).one())
        for outcome in _SCORED:
            # By an index; a scan asks one model version from start to end.
            page = (
                select(predictions.c.image_id)
                .where(
                    predictions.c.model_version == scan.model_version,
                    predictions.c.outcome == outcome,
                    predictions.c.scan_number == scan.number,
                )
                .limit(batch_rows)
            )
            while found := self._transact(lambda connection, page=page: list(connection.execute(page).scalars())):  # type: ignore[misc]
                gone = delete(predictions).where(
                    predictions.c.image_id.in_(found),
                    predictions.c.model_version == scan.model_version,
                    predictions.c.scan_number == scan.number,
                )
                yield self._transact(lambda connection, gone=gone: connection.execute(gone).rowcount)  # type: ignore[misc]

    def of_dag_run(self, dag_run: str) -> list[HeldScanRecord]:
        """The scans of that DAG run that are held, in the order in which they began. Cost: the scans that are held."""
        query = (
            select(scans.c.scan_id, scans.c.bucket, holds.c.reason, holds.c.held_at)
            .join_from(holds, scans, scans.c.number == holds.c.scan_number)
            .where(scans.c.dag_run == dag_run)
            .order_by(scans.c.number)
        )
        rows = self._transact(lambda connection: connection.execute(query).all())
        return [HeldScanRecord(row.scan_id, row.bucket, row.reason, row.held_at.replace(tzinfo=UTC)) for row in rows]


def is_held() -> ColumnElement[bool]:
    """Of a prediction: the scan that it is of is held. A look-up by primary key in a table of a few rows."""
    return exists().where(holds.c.scan_number == predictions.c.scan_number).correlate(predictions)


def discarded_run(scan_number: int) -> ScalarSelect[int]:
    """The last run of that scan whose scores were discarded."""
    return select(scans.c.discarded_run).where(scans.c.number == scan_number).scalar_subquery()


def refuse_held(connection: Connection, scan_number: int, request: ScanRequest) -> None:
    """Raise HeldScan while that scan is held, or one of the same DAG run: a shard of a held scan does not begin.

    Within a transaction that has locked the scan's row. Cost: the scans that are held.
    """
    query = select(scans.c.scan_id, holds.c.reason).join_from(holds, scans, scans.c.number == holds.c.scan_number)
    own = connection.execute(query.where(holds.c.scan_number == scan_number)).first()
    if own is None and request.dag_run is not None:
        same_run = query.where(scans.c.dag_run == request.dag_run, scans.c.bucket == request.bucket)
        own = connection.execute(same_run.order_by(scans.c.number).limit(1)).first()
    if own is not None:
        raise HeldScan(own.scan_id, own.reason)


def hold(connection: Connection, token: FencingToken, reason: str) -> None:
    """From now on that scan is held. Within the transaction that stores its certificate; may be repeated."""
    query = select(holds.c.scan_number).where(holds.c.scan_number == token.scan_number)
    if connection.execute(query).first() is not None:
        return
    row = {"scan_number": token.scan_number, "reason": reason[:_REASON_CHARS], "held_at": utc_now()}
    connection.execute(insert(holds).values(row))
    _decide(connection, token, HoldDecision.HELD, None, reason[:_REASON_CHARS])


def _held_scan(connection: Connection, scan_id: str) -> tuple[Row[Any], str]:
    """The locked row of a scan that is held, and why it is; SettingsError when it is not."""
    scan = connection.execute(select(scans).where(scans.c.scan_id == scan_id).with_for_update()).first()
    if scan is None:
        raise SettingsError(f"there is no scan {scan_id} in MySQL: `SELECT scan_id FROM scans` shows which there are")
    held_for = connection.execute(select(holds.c.reason).where(holds.c.scan_number == scan.number)).scalar()
    if held_for is None:
        raise SettingsError(f"scan {scan_id} is not held: it is {scan.state}")
    return scan, held_for


def _begin_discard(connection: Connection, deciding: Deciding) -> str:
    """Returns why it was held."""
    scan, held_for = _held_scan(connection, deciding.scan_id)
    _record(connection, scan, HoldDecision.DISCARDED, deciding)
    # A run's number more: a consumer of the last run that is still there stores nothing after this.
    fenced = scan.run_number + 1
    row = {"state": _DISCARDED, "certificate": None, "run_number": fenced, "discarded_run": fenced}
    connection.execute(update(scans).where(scans.c.number == scan.number).values(row))
    return held_for


def _decided(
    deciding: Deciding, decision: HoldDecision, held_for: str, *, is_finished: bool = False, results: int = 0
) -> Decided:
    return Decided(deciding.scan_id, decision, deciding.by, deciding.reason, held_for, is_finished, results)


def _record(
    connection: Connection, scan: Row[Any], decision: HoldDecision, deciding: Deciding, results: int | None = None
) -> None:
    token = FencingToken(scan.number, scan.run_number)
    _decide(connection, token, decision, deciding.by, deciding.reason, results)


def _decide(
    connection: Connection,
    token: FencingToken,
    decision: HoldDecision,
    by: str | None,
    reason: str,
    results: int | None = None,
) -> None:
    row: dict[str, Any] = {
        "scan_number": token.scan_number,
        "run_number": token.run_number,
        "decision": str(decision),
        "decided_by": by,
        "reason": reason,
        "results": results,
        "decided_at": utc_now(),
    }
    connection.execute(insert(hold_decisions).values(row))


def _by(name: str, reason: str) -> str:
    return f"{name}: {reason}"
