"""MySQL: scans in shards, from their plan to their certificate. Every method is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.mysql import insert

from sniffer.adapters.mysql.bound_plans import bind_to_approval
from sniffer.adapters.mysql.flag_past import plan_past
from sniffer.adapters.mysql.half_done import give_up, half_done_plans
from sniffer.adapters.mysql.plan_holds import held_for, hold_whole, plan_counts
from sniffer.adapters.mysql.scans import insert_scan, store_sum
from sniffer.adapters.mysql.schema import scans, shards
from sniffer.adapters.mysql.transactions import Transactions, utc_now
from sniffer.core.errors import ContractError, HeldScan, IncompleteScan
from sniffer.core.key_ranges import KeyRange
from sniffer.core.plan_flags import PlanJudge
from sniffer.core.records import Certificate, ScanRequest
from sniffer.core.shard_records import PLANNED, HalfDonePlan, ShardedScan, ShardPart, part_scan_id

AddUp = Callable[[ScanRequest, Sequence[Certificate]], Certificate]
"""From what was asked of the whole, and the certificates of all parts, to that of the whole."""


class ShardRepository:
    """Which shards a scan was cut into, and what became of each."""

    def __init__(self, transactions: Transactions) -> None:
        self._transact = transactions.transact

    def plan(
        self,
        request: ScanRequest,
        model_version: int,
        threshold: float,
        ranges: Sequence[tuple[KeyRange, int]],
        *,
        needs_approval: bool = False,
    ) -> ShardedScan:
        """Keep the ranges, with about how many keys each has, as the shards of that scan, unless it has some already.

        With `needs_approval` no shard of it begins before an estimate is approved, from the moment on at which the plan
        is there. Returns those that are stored. ContractError when the id is of a scan in one piece, or of other flags.
        """

        def plan(connection: Connection) -> ShardedScan:
            insert_scan(connection, request, model_version, threshold)
            number = connection.execute(
                select(scans.c.number).where(scans.c.scan_id == request.scan_id).with_for_update()
            ).scalar_one()
            known = stored_shards(connection, request.scan_id)
            if known is None:
                _insert(connection, number, request.scan_id, ranges)
                known = stored_shards(connection, request.scan_id)
            if known is None:
                raise ContractError(f"scan {request.scan_id} has no shards: a plan has at least one")
            if needs_approval:
                bind_to_approval(connection, number)
            return known

        return self._transact(plan)

    def find(self, scan_id: str) -> ShardedScan | None:
        """The stored shards of that scan; None when it has none."""
        return self._transact(lambda connection: stored_shards(connection, scan_id))

    def note_listed(self, scan_id: str, part_scan_id: str, listed: int, check: Callable[[ShardedScan], None]) -> None:
        """Keep that a part which runs has listed at least so many, unless `check` raises: then nothing is kept.

        It is given the scan with what all have listed by then. Of several at once each later one sees the earlier ones.
        ContractError when the scan has no such part.
        """

        def note_listed(connection: Connection) -> None:
            connection.execute(select(scans.c.number).where(scans.c.scan_id == scan_id).with_for_update()).all()
            ours = update(scans).where(scans.c.scan_id == part_scan_id)
            connection.execute(ours.values(listed=func.greatest(scans.c.listed, listed)))
            known = stored_shards(connection, scan_id)
            if known is None or part_scan_id not in {part.scan_id for part in known.parts}:
                raise ContractError(f"scan {scan_id} has no part {part_scan_id} in MySQL any more")
            check(known)

        self._transact(note_listed)

    def half_done(self, model_versions: Sequence[int] = ()) -> list[HalfDonePlan]:
        """The scans in shards that are neither complete nor given up, and not too old to be taken up; see HalfDonePlan.

        Of all model versions, or of these. Cost: the scans that have not ended, and the parts of those in shards.
        """
        return self._transact(lambda connection: half_done_plans(connection, model_versions))

    def give_up(self, scan_id: str) -> None:
        """Nobody waits for the rest of that scan in shards, until a shard of it is scanned again.

        SettingsError when it has none, is complete or is held.
        """
        self._transact(lambda connection: give_up(connection, scan_id))

    def certify(self, scan_id: str, add_up: AddUp, judge: PlanJudge | None = None) -> Certificate:
        """Add up the certificates of all parts, and store the sum as that of the whole, held if `judge` says so.

        A whole that was complete already is not judged again. No part can begin again meanwhile. IncompleteScan while
        one of them is not complete, HeldScan where the whole is held then; ContractError when the scan has no shards.
        Raises what `add_up` raises.
        """

        def certify(connection: Connection) -> Certificate:
            columns = (scans.c.number, scans.c.state, scans.c.certificate)
            whole = connection.execute(select(*columns).where(scans.c.scan_id == scan_id).with_for_update()).first()
            known = _complete_and_locked(connection, scan_id)
            query = select(scans.c.certificate).where(scans.c.scan_id.in_([part.scan_id for part in known.parts]))
            certificate = add_up(known.request, list(map(Certificate.parse, connection.execute(query).scalars())))
            if whole is None:  # it has shards, so it has a row
                raise ContractError(f"scan {scan_id} is not in MySQL any more")
            if whole.state == "complete" and whole.certificate:
                before = Certificate.parse(whole.certificate)
                certificate = replace(certificate, held=before.held, released=before.released)
            elif judge is not None:
                certificate = _judged(connection, whole.number, known.request, certificate, judge)
            store_sum(connection, certificate)
            return certificate

        return self._transact(certify)


def _judged(
    connection: Connection, number: int, request: ScanRequest, certificate: Certificate, judge: PlanJudge
) -> Certificate:
    """The certificate, held if the flagged images of the whole say so. Holds of single shards are decided by now."""
    counts = plan_counts(connection, number)
    past = plan_past(connection, number, judge.history_scans, judge.past_plans)
    reason = counts.held_for or judge.reason(request.flood_band, past, counts)
    released = "; ".join(filter(None, (counts.released, certificate.released)))
    if reason and not counts.released:
        hold_whole(connection, number, reason)
        return replace(certificate, held=reason, released="")
    return replace(certificate, held="; ".join(filter(None, (reason, certificate.held))), released=released)


def _complete_and_locked(connection: Connection, scan_id: str) -> ShardedScan:
    """The scan with all its parts, none of which can begin again before this transaction ends.

    Looks first, and locks only what it found complete: a shard that runs is not waited for. Then it looks again, since
    one may have begun meanwhile, and ended early with a further part.
    """
    locked: set[str] = set()
    while True:
        known = stored_shards(connection, scan_id)
        if known is None:
            raise ContractError(f"scan {scan_id} has no shards in MySQL: plan them with `sniffer plan`")
        if known.held_for and known.left:
            raise HeldScan(scan_id, known.held_for)
        if open_parts := [part for part in known.parts if not part.is_complete]:
            raise IncompleteScan(_what_is_left(scan_id, known, open_parts))
        found = {part.scan_id for part in known.parts}
        if found <= locked:
            return known
        lock = select(scans.c.number).where(scans.c.scan_id.in_(found)).order_by(scans.c.number)
        connection.execute(lock.with_for_update(read=True)).all()
        locked = found


def _what_is_left(scan_id: str, known: ShardedScan, open_parts: Sequence[ShardPart]) -> str:
    first = open_parts[0]
    state = "nobody has begun it" if first.state == PLANNED else f"its state is `{first.state}`"
    return (
        f"scan {scan_id}: {len(open_parts)} of {len(known.parts)} parts are not complete, the first of them {first}: "
        f"{state}. Scan what is left: `sniffer scan --shard-of {scan_id} --shard {first.shard}`"
    )


def _insert(connection: Connection, number: int, scan_id: str, ranges: Sequence[tuple[KeyRange, int]]) -> None:
    begun = connection.execute(select(scans.c.run_number).where(scans.c.number == number)).scalar_one()
    if begun:
        raise ContractError(f"scan {scan_id} was begun in one piece: go on so, or give another --scan-id")
    rows: list[dict[str, Any]] = [
        {
            "scan_number": number,
            "shard": shard,
            "part": 1,
            "after_key": key_range.after.encode(),
            "up_to_key": None if key_range.up_to is None else key_range.up_to.encode(),
            "planned_keys": keys,
            "part_scan_id": part_scan_id(scan_id, shard, 1),
            "planned_at": utc_now(),
        }
        for shard, (key_range, keys) in enumerate(ranges, 1)
    ]
    connection.execute(insert(shards).values(rows))


def stored_shards(connection: Connection, scan_id: str) -> ShardedScan | None:
    """The stored shards of that scan, within a transaction of somebody's; None when it has none."""
    whole = select(scans.c.number, scans.c.request, scans.c.model_version).where(scans.c.scan_id == scan_id)
    known = connection.execute(whole).first()
    if known is None:
        return None
    query = (
        select(shards, scans.c.state, scans.c.run_number, scans.c.listed)
        .join_from(shards, scans, scans.c.scan_id == shards.c.part_scan_id, isouter=True)
        .where(shards.c.scan_number == known.number)
        .order_by(shards.c.shard, shards.c.part)
    )
    parts = tuple(
        ShardPart(
            shard=row.shard,
            part=row.part,
            key_range=KeyRange(row.after_key.decode(), None if row.up_to_key is None else row.up_to_key.decode()),
            keys=row.planned_keys,
            scan_id=row.part_scan_id,
            state=row.state or PLANNED,
            runs=row.run_number or 0,
            listed=row.listed or 0,
        )
        for row in connection.execute(query)
    )
    if not parts:
        return None
    return ShardedScan(_request(known.request), known.model_version, parts, held_for(connection, known.number))


def _request(document: Mapping[str, Any]) -> ScanRequest:
    """The inverse of what row_of() writes. What an older release did not write has its default."""
    values = dict(document)
    for name in ("since", "until", "late_before"):
        values[name] = datetime.fromisoformat(values[name]) if values.get(name) else None
    for name in ("include", "exclude", "late_prefixes"):
        values[name] = tuple(values.get(name, ()))
    values["key_range"] = KeyRange(**values.get("key_range", {}))
    return ScanRequest(**values)
