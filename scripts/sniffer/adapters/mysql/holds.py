"""MySQL: scans whose flagged images are held back, the past that they are judged by, and what people decided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    update,
)

from sniffer.adapters.mysql.flag_past import history, plan_past
from sniffer.adapters.mysql.plan_holds import (
    REASON_CHARS,
    SCORED,
    by_whom,
    end_hold,
    held_for,
    hold_whole,
    is_part_of_held,
    is_whole,
    lock_whole,
    parts_begun,
    plan_counts,
    released_by,
    whole_of,
)
from sniffer.adapters.mysql.runs import refuse_superseded
from sniffer.adapters.mysql.schema import hold_decisions, holds, predictions, scans, shards, tallies
from sniffer.adapters.mysql.transactions import Transactions, utc_now
from sniffer.core.errors import ContractError, HeldScan, SettingsError
from sniffer.core.flag_records import Decided, Deciding, FlagCounts, HeldScanRecord, HoldDecision
from sniffer.core.plan_flags import PlanCounts, PlanPast
from sniffer.core.records import Certificate, FencingToken, ScanRequest

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
            tallies.c.outcome.in_(SCORED),
        )
        scored, flagged = self._transact(lambda connection: connection.execute(query).one())
        return FlagCounts(int(scored), int(flagged))

    def flag_history(self, token: FencingToken, count: int) -> tuple[FlagCounts, ...]:
        """The same of the last scans that began before that one, newest first: at most `count` of them.

        Of the same source, by the same model version and threshold, and complete: what is held, was discarded or has
        not ended is no past. A scan in shards is one of them, with all its parts, once it is complete: its shards are
        no past of each other. Cost: a few rows for each of them, or its parts, and its consumers.
        """
        return self._transact(lambda connection: history(connection, token.scan_number, count))

    def release_of(self, token: FencingToken) -> str:
        """Who released that scan, and why, where that is the last word on it; empty otherwise."""
        return self._transact(lambda connection: released_by(connection, token.scan_number))

    def plan_past(self, token: FencingToken, count: int, plans: int) -> PlanPast | None:
        """What the scan in shards is judged by that this one is a part of; None when it is none.

        That is flag_history() of the whole, and the shards of the last `plans` of these scans that were in shards.
        """

        def read(connection: Connection) -> PlanPast | None:
            query = select(shards.c.scan_number, shards.c.shard, shards.c.part).join(
                scans, scans.c.scan_id == shards.c.part_scan_id
            )
            part = connection.execute(query.where(scans.c.number == token.scan_number)).first()
            return part and plan_past(connection, part.scan_number, count, plans, shard=part.shard, part=part.part)

        return self._transact(read)

    def plan_counts(self, token: FencingToken) -> PlanCounts:
        """Where all shards stand of the scan that this one is a part of. Cost: as many rows as parts, and consumers.

        ContractError when it is no part of any.
        """
        return self._transact(lambda connection: plan_counts(connection, _whole_of_token(connection, token)))

    def hold_plan(self, token: FencingToken, reason: str) -> None:
        """From now on the scan in shards is held that this one is a part of, unless it is already, or was released.

        SupersededRun unless that is the newest run of the part: what an older one has seen may be discarded by now.
        """

        def hold_plan(connection: Connection) -> None:
            whole = _whole_of_token(connection, token)
            # As whoever discards the whole does, before the numbers of its parts' runs are read.
            connection.execute(select(scans.c.number).where(scans.c.number == whole).with_for_update()).all()
            columns = (scans.c.scan_id, scans.c.run_number)
            part = connection.execute(select(*columns).where(scans.c.number == token.scan_number)).one()
            refuse_superseded(part.scan_id, part.run_number, token.run_number)
            hold_whole(connection, whole, reason)

        self._transact(hold_plan)

    def held_for(self, scan_id: str) -> str:
        """Why that scan is held; empty when it is not."""
        query = select(holds.c.reason).join(scans, scans.c.number == holds.c.scan_number)
        return (
            self._transact(lambda connection: connection.execute(query.where(scans.c.scan_id == scan_id)).scalar())
            or ""
        )

    def release(self, deciding: Deciding) -> Decided:
        """What the scan found counts from now on; of a scan in shards, what all its parts found.

        Not that of a part whose discard has begun: it stays held until that has ended.
        SettingsError when it is not held, is being discarded, or is a part of one that is held as a whole.
        """

        def release(connection: Connection) -> Decided:
            scan, reason = _held_scan(connection, deciding.scan_id)
            if scan.state == _DISCARDED:
                raise SettingsError(
                    f"scan {scan.scan_id} is being discarded: run `sniffer discard {scan.scan_id}` again"
                )
            parts = parts_begun(connection, scan.number)
            going = _in_state(connection, parts, _DISCARDED)
            for part in _in_state(connection, parts, "held"):
                _release(connection, part, deciding)
            finished = _release(connection, scan, deciding)
            end_hold(connection, {scan.number, *parts} - {part.number for part in going})
            return _decided(deciding, HoldDecision.RELEASED, reason, is_finished=finished)

        return self._transact(release)

    def discard(self, deciding: Deciding, *, batch_rows: int = 1000) -> Decided:
        """Record that it begins, delete the scores of the scan or of all its parts, and record what went.

        May be run again when interrupted. From its beginning on nobody writes for the scan any more, nor releases it;
        SettingsError when it is not held, or is a part of one that is held as a whole.
        """
        reason = self._transact(lambda connection: _begin_discard(connection, deciding))
        results = sum(self.delete_scores(deciding.scan_id, batch_rows))

        def end(connection: Connection) -> None:
            scan, _ = _held_scan(connection, deciding.scan_id)
            _record(connection, scan, HoldDecision.DISCARDED, deciding, results)
            end_hold(connection, [scan.number, *parts_begun(connection, scan.number)])
            if is_whole(connection, scan.number):
                # Its parts are left to be scanned, as of a plan that was just made.
                connection.execute(
                    update(scans).where(scans.c.number == scan.number).values(state="running", finished_at=None)
                )

        self._transact(end)
        return _decided(deciding, HoldDecision.DISCARDED, reason, results=results)

    def begin_discard(self, deciding: Deciding) -> None:
        """The first step of discard() alone."""
        self._transact(lambda connection: _begin_discard(connection, deciding))

    def delete_scores(self, scan_id: str, batch_rows: int) -> Iterator[int]:
        """Its second step: delete what the scan has scored; yields after each batch how many rows went."""
        for number, version in self._transact(lambda connection: _with_scores(connection, scan_id)):
            for outcome in SCORED:
                # By an index; a scan asks one model version from start to end.
                page = (
                    select(predictions.c.image_id)
                    .where(
                        predictions.c.model_version == version,
                        predictions.c.outcome == outcome,
                        predictions.c.scan_number == number,
                    )
                    .limit(batch_rows)
                )
                while found := self._transact(
                    lambda connection, page=page: list(connection.execute(page).scalars())  # type: ignore[misc]
                ):
                    gone = delete(predictions).where(
                        predictions.c.image_id.in_(found),
                        predictions.c.model_version == version,
                        predictions.c.scan_number == number,
                    )
                    yield self._transact(lambda connection, gone=gone: connection.execute(gone).rowcount)  # type: ignore[misc]

    def of_dag_run(self, dag_run: str) -> list[HeldScanRecord]:
        """Those of all() that are of that DAG run."""
        return self._held(scans.c.dag_run == dag_run)

    def all(self) -> list[HeldScanRecord]:
        """The scans that are held, in the order in which they began. Cost: the scans that are held.

        Of one in shards that is held as a whole, the whole alone.
        """
        return self._held()

    def _held(self, *conditions: ColumnElement[bool]) -> list[HeldScanRecord]:
        query = (
            select(scans.c.scan_id, scans.c.bucket, holds.c.reason, holds.c.held_at)
            .join_from(holds, scans, scans.c.number == holds.c.scan_number)
            .where(*conditions, ~is_part_of_held())
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
    """Raise HeldScan while that scan is held, or the whole that it is a part of, or one beside it.

    Beside it are the other parts of that whole, and the scans of the same DAG run.

    Within a transaction that has locked the rows of both. Cost: the scans that are held.
    """
    query = select(scans.c.scan_id, holds.c.reason).join_from(holds, scans, scans.c.number == holds.c.scan_number)
    if (whole := whole_of(connection, request.scan_id)) is not None:
        own = connection.execute(query.where(holds.c.scan_number == whole)).first()
        if own is None:
            parts = query.join(shards, shards.c.part_scan_id == scans.c.scan_id)
            own = connection.execute(parts.where(shards.c.scan_number == whole).limit(1)).first()
        if own is not None:
            raise HeldScan(own.scan_id, own.reason)
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
    row = {"scan_number": token.scan_number, "reason": reason[:REASON_CHARS], "held_at": utc_now()}
    connection.execute(insert(holds).values(row))
    _decide(connection, token, HoldDecision.HELD, None, reason[:REASON_CHARS])


def _held_scan(connection: Connection, scan_id: str) -> tuple[Row[Any], str]:
    """The locked row of a scan that is held, and why it is; SettingsError when it is not to be decided about."""
    whole = lock_whole(connection, scan_id)
    scan = connection.execute(select(scans).where(scans.c.scan_id == scan_id).with_for_update()).first()
    if scan is None:
        raise SettingsError(f"there is no scan {scan_id} in MySQL: `SELECT scan_id FROM scans` shows which there are")
    if whole is not None and held_for(connection, whole):
        name = connection.execute(select(scans.c.scan_id).where(scans.c.number == whole)).scalar_one()
        raise SettingsError(
            f"scan {scan_id} is a shard of scan {name}, which is held as a whole: decide about that one"
        )
    reason = held_for(connection, scan.number)
    if not reason:
        raise SettingsError(f"scan {scan_id} is not held: it is {scan.state}")
    return scan, reason


def _in_state(connection: Connection, parts: Sequence[int], state: str) -> Sequence[Row[Any]]:
    """Those of the parts of a scan that are in that state; `held` is who was held for itself, before the whole was."""
    query = select(scans).where(scans.c.number.in_(parts), scans.c.state == state).order_by(scans.c.number)
    return connection.execute(query.with_for_update()).all()


def _release(connection: Connection, scan: Row[Any], deciding: Deciding) -> bool:
    """Returns whether the scan is complete then. A scan in shards that was not certified goes on as it was."""
    _record(connection, scan, HoldDecision.RELEASED, deciding)
    mine = update(scans).where(scans.c.number == scan.number)
    if not scan.certificate:
        connection.execute(mine.values(state="running", finished_at=None))
        return False
    finished = not Certificate.parse(scan.certificate).problems
    certificate = scan.certificate | {"released": by_whom(deciding.by, deciding.reason), "holds": finished}
    connection.execute(mine.values(state="complete" if finished else "incomplete", certificate=certificate))
    return finished


def _begin_discard(connection: Connection, deciding: Deciding) -> str:
    """Returns why it was held."""
    scan, reason = _held_scan(connection, deciding.scan_id)
    _record(connection, scan, HoldDecision.DISCARDED, deciding)
    scores = parts_begun(connection, scan.number)
    if not is_whole(connection, scan.number):
        scores = [scan.number]
    # A run's number more: a consumer of the last run that is still there stores nothing after this.
    fenced = update(scans).where(scans.c.number.in_(scores))
    connection.execute(
        fenced.ordered_values(
            (scans.c.discarded_run, scans.c.run_number + 1), (scans.c.run_number, scans.c.run_number + 1)
        )
    )
    gone = update(scans).where(scans.c.number.in_([scan.number, *scores]))
    connection.execute(gone.values(state=_DISCARDED, certificate=None))
    return reason


def _with_scores(connection: Connection, scan_id: str) -> list[tuple[int, int]]:
    """Number and model version of the scan, or of its parts that have begun."""
    number = connection.execute(select(scans.c.number).where(scans.c.scan_id == scan_id)).scalar_one()
    numbers = parts_begun(connection, number) or [number]
    query = select(scans.c.number, scans.c.model_version).where(scans.c.number.in_(numbers))
    return [(row[0], row[1]) for row in connection.execute(query)]


def _whole_of_token(connection: Connection, token: FencingToken) -> int:
    query = select(shards.c.scan_number).join(scans, scans.c.scan_id == shards.c.part_scan_id)
    number = connection.execute(query.where(scans.c.number == token.scan_number)).scalar()
    if number is None:
        raise ContractError(f"the scan with the number {token.scan_number} is no part of a shard in MySQL")
    return int(number)


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
        "reason": reason,
        "decided_at": utc_now(),
    }
    # Not even NULL where there is none: a scan's role may not name these columns.
    row |= {} if by is None else {"decided_by": by}
    row |= {} if results is None else {"results": results}
    connection.execute(insert(hold_decisions).values(row))
