"""MySQL: what a scan in shards is estimated to cost, and who approved it. Every method is one transaction."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime

from sqlalchemy import Connection, func, insert, select, update

from sniffer.adapters.mysql.bound_plans import NO_ESTIMATE, bind_to_approval
from sniffer.adapters.mysql.schema import estimates, scans
from sniffer.adapters.mysql.shards import stored_shards
from sniffer.adapters.mysql.transactions import Transactions, utc_now
from sniffer.adapters.mysql.upserts import insert_unless_there
from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.estimate_records import Approving, BackfillEstimate, StoredEstimate, plan_digest
from sniffer.core.json_records import json_values, parse_record
from sniffer.core.shard_records import COMPLETE, HELD


class EstimateRepository:
    """Estimates of scans in shards."""

    def __init__(self, transactions: Transactions) -> None:
        self._transact = transactions.transact

    def require_approval(self, scan_id: str) -> None:
        """From now on no shard of that plan begins before an estimate of it is approved. Idempotent.

        ContractError when the scan has no shards.
        """

        def require_approval(connection: Connection) -> None:
            bind_to_approval(connection, _locked(connection, scan_id))

        self._transact(require_approval)

    def refuse_unbound(self, scan_id: str) -> None:
        """SettingsError when that plan has to be approved: an estimate without a share of growth would lift that."""
        self._transact(lambda connection: _refuse_unbound(connection, scan_id))

    def store(self, estimate: BackfillEstimate) -> StoredEstimate:
        """Keep it as that of its scan, in the place of an older one; returns it with its digest.

        An approval is of a digest: that of another estimate does not count for this one.

        ContractError when the scan has no shards; SettingsError when it has to be approved, and this binds nobody.
        """

        def store(connection: Connection) -> StoredEstimate:
            number = _locked(connection, estimate.scan_id)
            if estimate.growth is None:
                _refuse_unbound(connection, estimate.scan_id)
            values = {
                "digest": "",
                "estimate": json_values(dataclasses.replace(estimate, digest="")),
                "estimated_at": utc_now(),
            }
            ours = estimates.c.scan_number == number
            before = connection.execute(select(estimates.c.digest).where(ours)).scalar()
            if not insert_unless_there(connection, insert(estimates).values(scan_number=number, **values)):
                connection.execute(update(estimates).where(ours).values(values))
            # Of what is read back: a server may write a number in its own way.
            digest = _digest(connection, number, estimate.scan_id)
            connection.execute(update(estimates).where(ours).values(digest=digest))
            if digest != before:
                _count_anew(connection, estimate.scan_id)
            return _found(connection, number, estimate.scan_id)

        return self._transact(store)

    def find(self, scan_id: str) -> StoredEstimate | None:
        """The estimate of that scan; None without one.

        ContractError when it is not of the plan that is stored; SettingsError when it has to be approved and there is
        none yet.
        """

        def find(connection: Connection) -> StoredEstimate | None:
            query = (
                select(scans.c.number)
                .join_from(estimates, scans, scans.c.number == estimates.c.scan_number)
                .where(scans.c.scan_id == scan_id)
            )
            number = connection.execute(query).scalar()
            if number is None:
                return None
            if (
                connection.execute(select(estimates.c.digest).where(estimates.c.scan_number == number)).scalar()
                == NO_ESTIMATE
            ):
                raise SettingsError(
                    f"the plan of scan {scan_id} has to be approved, and has no estimate yet: in Airflow clear "
                    f"`estimate`, with everything after it (a task that is marked as successful has estimated "
                    f"nothing), or `sniffer estimate --scan-id {scan_id} --growth SHARE`, and approve that"
                )
            found = _found(connection, number, scan_id)
            if _digest(connection, number, scan_id) != found.estimate.digest:
                raise ContractError(
                    f"the plan of scan {scan_id}, or its estimate, is not what was estimated any more: estimate it "
                    f"again with `sniffer estimate --scan-id {scan_id} --growth SHARE`, and approve that"
                )
            return found

        return self._transact(find)

    def approve(self, approving: Approving) -> StoredEstimate:
        """Keep who approved it. An approval of the same digest that is there already stays as it is.

        SettingsError when there is no estimate with that digest.
        """

        def approve(connection: Connection) -> StoredEstimate:
            number = _locked(connection, approving.scan_id)
            ours = estimates.c.scan_number == number
            digest = connection.execute(select(estimates.c.digest).where(ours)).scalar()
            if not digest or digest != approving.digest:
                now = f"that of its plan is {digest}" if digest else "it has no estimate"
                raise SettingsError(
                    f"scan {approving.scan_id} has no estimate with the digest {approving.digest!r}: {now}. Look at "
                    f"what `sniffer estimate --scan-id {approving.scan_id}` finds, and approve that"
                )
            is_new = func.coalesce(estimates.c.approved_digest, "") != digest
            change = update(estimates).where(ours, is_new)
            values = {
                "approved_digest": digest,
                "approved_by": approving.by or None,
                "approval_reason": approving.reason,
            }
            connection.execute(change.values(approved_at=utc_now(), **values))
            return _found(connection, number, approving.scan_id)

        return self._transact(approve)

    def withdraw(self, scan_id: str) -> None:
        """Take an approval back, if there is one: no shard begins any more. Idempotent."""

        def withdraw(connection: Connection) -> None:
            number = _locked(connection, scan_id)
            values = dict.fromkeys(("approved_digest", "approved_by", "approval_reason", "approved_at"))
            connection.execute(update(estimates).where(estimates.c.scan_number == number).values(values))

        self._transact(withdraw)


def _locked(connection: Connection, scan_id: str) -> int:
    """The number of that scan, which has shards; nobody else changes its estimate meanwhile."""
    number = connection.execute(select(scans.c.number).where(scans.c.scan_id == scan_id).with_for_update()).scalar()
    if number is None or stored_shards(connection, scan_id) is None:
        raise ContractError(f"scan {scan_id} has no shards in MySQL: plan them with `sniffer plan --even-one`")
    return int(number)


def _count_anew(connection: Connection, scan_id: str) -> None:
    """What parts that are left have listed of the growth was in the bucket when this estimate was made, or is gone."""
    whole = stored_shards(connection, scan_id)
    left = [part.scan_id for part in whole.parts if part.state not in (COMPLETE, HELD)] if whole else []
    connection.execute(update(scans).where(scans.c.scan_id.in_(left)).values(listed=0))


def _refuse_unbound(connection: Connection, scan_id: str) -> None:
    """SettingsError when that scan has to be approved; also where another release has stored its estimate."""
    query = (
        select(estimates.c.digest, estimates.c.estimate)
        .join_from(estimates, scans, scans.c.number == estimates.c.scan_number)
        .where(scans.c.scan_id == scan_id)
    )
    known = connection.execute(query).first()
    if known is not None and (known.digest == NO_ESTIMATE or known.estimate.get("growth") is not None):
        raise SettingsError(
            f"the plan of scan {scan_id} has to be approved: give --growth SHARE, such as 0.05, by which its bucket "
            "may grow; without it nobody would be asked"
        )


def _digest(connection: Connection, number: int, scan_id: str) -> str:
    """That of the plan with the estimate, as they are stored now."""
    query = select(scans.c.request, scans.c.model_version, estimates.c.estimate).join_from(
        scans, estimates, estimates.c.scan_number == scans.c.number
    )
    row = connection.execute(query.where(scans.c.number == number)).one()
    whole = stored_shards(connection, scan_id)
    request, estimate = (json.dumps(document, sort_keys=True) for document in (row.request, row.estimate))
    return plan_digest(request, row.model_version, whole.parts if whole else (), estimate)


def _found(connection: Connection, number: int, scan_id: str) -> StoredEstimate:
    row = connection.execute(select(estimates).where(estimates.c.scan_number == number)).one()
    where, remedy = f"the estimate of scan {scan_id}", f"run `sniffer estimate --scan-id {scan_id}` again"
    estimate = parse_record(row.estimate, BackfillEstimate, where, remedy, ignore_unknown=True)
    stored = StoredEstimate(dataclasses.replace(estimate, digest=row.digest), row.estimated_at.replace(tzinfo=UTC))
    if not row.digest or row.approved_digest != row.digest:
        return stored
    return dataclasses.replace(
        stored,
        approved_by=row.approved_by,
        approval_reason=row.approval_reason,
        approved_at=_utc(row.approved_at),
    )


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
