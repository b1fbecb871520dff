"""MySQL: what a scan in shards is estimated to cost, and who approved it. Every method is one transaction."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.mysql import insert

from sniffer.adapters.mysql.schema import estimates, scans
from sniffer.adapters.mysql.shards import stored_shards
from sniffer.adapters.mysql.transactions import Transactions, utc_now
from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.estimate_records import Approving, BackfillEstimate, StoredEstimate, plan_digest
from sniffer.core.json_records import json_values, parse_record
from sniffer.core.shard_records import ShardedScan


class EstimateRepository:
    """Estimates of scans in shards."""

    def __init__(self, transactions: Transactions) -> None:
        self._transact = transactions.transact

    def store(self, estimate: BackfillEstimate) -> StoredEstimate:
        """Keep it as that of its scan, in the place of an older one and of its approval; returns it with its digest.

        ContractError when the scan has no shards.
        """

        def store(connection: Connection) -> StoredEstimate:
            number, whole = _locked(connection, estimate.scan_id)
            sealed = dataclasses.replace(estimate, digest=plan_digest(whole, estimate))
            values = {
                "digest": sealed.digest,
                "estimate": json_values(sealed),
                "estimated_at": utc_now(),
                "approved_by": None,
                "approval_reason": None,
                "approved_at": None,
            }
            first = insert(estimates).values(scan_number=number, **values)
            connection.execute(first.on_duplicate_key_update(**values))
            return _found(connection, number, estimate.scan_id)

        return self._transact(store)

    def find(self, scan_id: str) -> StoredEstimate | None:
        """The estimate of that scan; None without one. ContractError when it is not of the plan that is stored."""

        def find(connection: Connection) -> StoredEstimate | None:
            query = (
                select(scans.c.number)
                .join_from(estimates, scans, scans.c.number == estimates.c.scan_number)
                .where(scans.c.scan_id == scan_id)
            )
            number = connection.execute(query).scalar()
            if number is None:
                return None
            found = _found(connection, number, scan_id)
            whole = stored_shards(connection, scan_id)
            if whole is None or plan_digest(whole, found.estimate) != found.estimate.digest:
                raise ContractError(
                    f"the plan of scan {scan_id}, or its estimate, is not what was estimated any more: estimate it "
                    f"again with `sniffer estimate --scan-id {scan_id}`, and approve that"
                )
            return found

        return self._transact(find)

    def approve(self, approving: Approving) -> StoredEstimate:
        """Keep who approved it. An approval that is there already stays as it is.

        SettingsError when there is no estimate with that digest.
        """

        def approve(connection: Connection) -> StoredEstimate:
            number, _ = _locked(connection, approving.scan_id)
            ours = estimates.c.scan_number == number
            digest = connection.execute(select(estimates.c.digest).where(ours)).scalar()
            if digest != approving.digest:
                now = f"that of its plan is {digest}" if digest else "it has no estimate"
                raise SettingsError(
                    f"scan {approving.scan_id} has no estimate with the digest {approving.digest!r}: {now}. Look at "
                    f"what `sniffer estimate --scan-id {approving.scan_id}` finds, and approve that"
                )
            change = update(estimates).where(ours, estimates.c.approved_at.is_(None))
            values = {"approved_by": approving.by or None, "approval_reason": approving.reason}
            connection.execute(change.values(approved_at=utc_now(), **values))
            return _found(connection, number, approving.scan_id)

        return self._transact(approve)

    def withdraw(self, scan_id: str) -> None:
        """Take an approval back, if there is one: no shard begins any more. Idempotent."""

        def withdraw(connection: Connection) -> None:
            number, _ = _locked(connection, scan_id)
            values = {"approved_by": None, "approval_reason": None, "approved_at": None}
            connection.execute(update(estimates).where(estimates.c.scan_number == number).values(values))

        self._transact(withdraw)


def _locked(connection: Connection, scan_id: str) -> tuple[int, ShardedScan]:
    number = connection.execute(select(scans.c.number).where(scans.c.scan_id == scan_id).with_for_update()).scalar()
    whole = None if number is None else stored_shards(connection, scan_id)
    if number is None or whole is None:
        raise ContractError(f"scan {scan_id} has no shards in MySQL: plan them with `sniffer plan --even-one`")
    return number, whole


def _found(connection: Connection, number: int, scan_id: str) -> StoredEstimate:
    row = connection.execute(select(estimates).where(estimates.c.scan_number == number)).one()
    where, remedy = f"the estimate of scan {scan_id}", f"run `sniffer estimate --scan-id {scan_id}` again"
    return StoredEstimate(
        parse_record(row.estimate, BackfillEstimate, where, remedy, ignore_unknown=True),
        row.estimated_at.replace(tzinfo=UTC),
        row.approved_by,
        row.approval_reason,
        _utc(row.approved_at),
    )


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
