"""The table `models`: which versions there are, what they are worth, and which one is in production."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from datetime import UTC
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, func, select, update
from sqlalchemy.dialects.mysql import insert

from sniffer.adapters.mysql.schema import models, promotions, reports, verdicts
from sniffer.adapters.mysql.transactions import Transactions, utc_now
from sniffer.adapters.mysql.upserts import insert_unless_there
from sniffer.core.changed_images import ChangedImages
from sniffer.core.errors import ContractError
from sniffer.core.gate_records import GateVerdict
from sniffer.core.json_records import json_values, parse_record
from sniffer.core.model_metrics import ModelMetrics
from sniffer.core.model_records import NOBODY, Decision, ModelRecord, ModelStatus, StableChange

_RecordT = TypeVar("_RecordT")
_Row = dict[str, Any]

_FIGURE_COLUMNS = ("backbone_digest", "preprocessing_version", "threshold", "metrics")
"""What an export may still settle of a reserved model version."""
_IN_PRODUCTION = (ModelStatus.STABLE, ModelStatus.PREVIOUS)


class ModelRegistry:
    """Model versions and their status. Every method is one transaction."""

    def __init__(self, transactions: Transactions) -> None:
        self._transact = transactions.transact

    def register(
        self, record: ModelRecord, metrics: ModelMetrics | None = None, verdict: GateVerdict | None = None
    ) -> None:
        """Add a model version, or complete a reserved one, whose status and verdict stay. Idempotent.

        Raises ContractError when the version is of another digest or candidate, or the candidate has another version.
        """
        row = _model_row(record, metrics, verdict)
        self._transact(lambda connection: _register_model(connection, record, row))

    def reserve(self, record: ModelRecord, metrics: ModelMetrics | None = None, *, above: int = 0) -> int:
        """The version kept for this record's candidate: the next one, or the one that it has already.

        The next is above every registered version and above `above`; the record's own version and digest do not count.
        Of several at once, each candidate gets a version of its own. Raises ValueError without a candidate digest.
        """
        if not record.candidate_digest:
            raise ValueError("a version is reserved for a candidate digest")
        row = _model_row(record, metrics, None)
        return self._transact(lambda connection: _reserve_model(connection, row, above))

    def record_verdict(
        self,
        version: int,
        record: ModelRecord,
        metrics: ModelMetrics | None,
        verdict: GateVerdict,
        report: str,
        changed: ChangedImages | None = None,
    ) -> bool:
        """Add the verdict on a reserved version to all of them, and put it in force; whether it is in force.

        With it come status, figures, the report as HTML, and what changes against the stable version. A version that
        is exported keeps all of these: what is or was served stays as it was judged. It is given only the changed
        images, where an older release kept none. Idempotent. ContractError unless it is that candidate's version.
        """
        row = _model_row(record, metrics, verdict)
        kept = {
            "page": zlib.compress(report.encode()),
            "changed_images": None if changed is None else zlib.compress(json.dumps(json_values(changed)).encode()),
        }
        return self._transact(lambda connection: _record_verdict(connection, version, row, kept))

    def report(self, version: int) -> str | None:
        """The report of that version, as HTML; None when it was never judged."""
        query = select(reports.c.page).where(reports.c.version == version)
        page = self._transact(lambda connection: connection.execute(query).scalar())
        return None if page is None else zlib.decompress(page).decode()

    def changed_images(self, version: int) -> ChangedImages | None:
        """The test images that this version and the stable one of then decide differently.

        None when they were not compared. Raises ContractError when another release stored them in another form.
        """
        query = select(reports.c.changed_images).where(reports.c.version == version)
        kept = self._transact(lambda connection: connection.execute(query).scalar())
        if kept is None:
            return None
        what = f"the changed images of model version {version}"
        return _stored(json.loads(zlib.decompress(kept)), ChangedImages, what, "reports")

    def metrics(self, version: int) -> ModelMetrics | None:
        """The figures of that version; None for one that is unknown or was registered without them.

        Raises ContractError when another release stored them in another form.
        """
        query = select(models.c.metrics).where(models.c.version == version)
        values = self._transact(lambda connection: connection.execute(query).scalar())
        return _stored(values, ModelMetrics, f"the metrics of model version {version}") if values else None

    def verdict(self, version: int) -> GateVerdict | None:
        """The gate's verdict in force on that version; None for one that is unknown or was never judged.

        Raises ContractError when another release stored it in another form.
        """
        query = select(models.c.verdict).where(models.c.version == version)
        values = self._transact(lambda connection: connection.execute(query).scalar())
        return None if values is None else _stored(values, GateVerdict, f"the verdict on model version {version}")

    def verdicts(self, version: int) -> list[GateVerdict]:
        """Every verdict that was ever given on that version, oldest first; ContractError as for `verdict`."""
        query = select(verdicts.c.verdict).where(verdicts.c.version == version).order_by(verdicts.c.number)
        found = self._transact(lambda connection: connection.execute(query).scalars().all())
        return [_stored(values, GateVerdict, f"a verdict on model version {version}") for values in found]

    def get(self, version: int) -> ModelRecord | None:
        """The registered model of that version, or None."""
        query = select(models).where(models.c.version == version)
        return _model(self._transact(lambda connection: connection.execute(query).first()))

    def stable(self) -> ModelRecord | None:
        """The model version that is in production, or None before the first rollout."""
        query = select(models).where(models.c.status == ModelStatus.STABLE).order_by(models.c.version.desc())
        return _model(self._transact(lambda connection: connection.execute(query).first()))

    def previous(self) -> ModelRecord | None:
        """The model version that was in production before the stable one, or None."""
        found = self.of_status(ModelStatus.PREVIOUS)
        return found[0] if found else None

    def of_status(self, *statuses: ModelStatus) -> list[ModelRecord]:
        """The exported versions of these statuses, newest first."""
        query = (
            select(models).where(models.c.status.in_(statuses), models.c.digest != "").order_by(models.c.version.desc())
        )
        return [_read(row) for row in self._transact(lambda connection: connection.execute(query).all())]

    def promote(self, version: int, decision: Decision = NOBODY) -> None:
        """Make that version stable and the one that was stable previous: for the previous one, this swaps the two.

        Who decided is kept with the change. Idempotent: where the version is stable already, what was decided then
        stays. ContractError if the version is unknown or rejected.
        """
        self._transact(lambda connection: _promote(connection, version, decision))

    def stable_changes(self, version: int | None = None) -> list[StableChange]:
        """Every change of the stable version, oldest first; or those that made that version stable."""
        query = select(promotions).order_by(promotions.c.number)
        if version is not None:
            query = query.where(promotions.c.version == version)
        return [_change(row) for row in self._transact(lambda connection: connection.execute(query).all())]


def _model(row: Row[Any] | None) -> ModelRecord | None:
    return None if row is None else _read(row)


def _read(row: Row[Any]) -> ModelRecord:
    return ModelRecord(
        row.version,
        row.digest,
        row.backbone_digest,
        row.preprocessing_version,
        row.threshold,
        ModelStatus(row.status),
        row.candidate_digest,
    )


def _stored(values: object, kind: type[_RecordT], what: str, table: str = "models") -> _RecordT:
    where = f"{what} in the table `{table}`"
    # What another release stored may have more fields; those that we know are all that we need.
    return parse_record(values, kind, where, "evaluate and judge that model again", ignore_unknown=True)


def _register_model(connection: Connection, record: ModelRecord, row: _Row) -> None:
    # A version or a candidate that is there already is left as it is, and looked at below.
    insert_unless_there(connection, insert(models).values(row))
    known = connection.execute(select(models).where(models.c.version == record.version).with_for_update()).first()
    if known is None:
        raise ContractError(
            f"the candidate {_short(record.candidate_digest)} has another version than {record.version} already: "
            "publish under that one"
        )
    if row["verdict"] is not None and _is_same(known.verdict, row["verdict"]):
        _append_verdict(connection, record.version, row)
    if known.digest == "":
        _complete_reserved(connection, known, record, row)
    elif known.digest != record.digest:
        raise ContractError(
            f"model version {record.version} is already registered with digest {_short(known.digest)}, not "
            f"{_short(record.digest)}: publish under a new version"
        )


def _complete_reserved(connection: Connection, reserved: Row[Any], record: ModelRecord, row: _Row) -> None:
    if record.candidate_digest not in (None, reserved.candidate_digest):
        raise ContractError(
            f"model version {record.version} is reserved for the candidate {_short(reserved.candidate_digest)}, not "
            f"{_short(record.candidate_digest)}: publish under a new version"
        )
    fresh = {name: row[name] for name in (*_FIGURE_COLUMNS, "digest", "registered_at")}
    connection.execute(update(models).where(models.c.version == record.version).values(fresh))


def _reserve_model(connection: Connection, row: _Row, above: int) -> int:
    own = select(models.c.version).where(models.c.candidate_digest == row["candidate_digest"])
    while (version := connection.execute(own).scalar()) is None:
        highest = connection.execute(select(func.max(models.c.version))).scalar() or 0
        reserved = row | {"version": max(highest, above) + 1, "digest": ""}
        # Another one may take the number first; then nothing is inserted, and the next number is tried.
        insert_unless_there(connection, insert(models).values(reserved))
    return int(version)


def _record_verdict(connection: Connection, version: int, row: _Row, report: Mapping[str, bytes | None]) -> bool:
    known = connection.execute(select(models).where(models.c.version == version).with_for_update()).first()
    if known is None or known.candidate_digest != row["candidate_digest"]:
        raise ContractError(f"model version {version} is not reserved for {_short(row['candidate_digest'])}")
    _append_verdict(connection, version, row)
    if known.digest != "" and known.verdict is not None:
        if report["changed_images"] is not None:
            # Replaces nothing. Older releases kept no pictures, and an approval wants them.
            first = func.coalesce(reports.c.changed_images, report["changed_images"])
            filled = insert(reports).values(version=version, **report).on_duplicate_key_update(changed_images=first)
            connection.execute(filled)
        return False
    fresh = {"verdict": row["verdict"]}
    if known.digest == "":
        fresh |= {name: row[name] for name in ("judged", *_FIGURE_COLUMNS)}
    connection.execute(update(models).where(models.c.version == version).values(fresh))
    connection.execute(insert(reports).values(version=version, **report).on_duplicate_key_update(**report))
    return True


def _append_verdict(connection: Connection, version: int, row: _Row) -> None:
    """Add the verdict, unless it is the last one: a transaction that was retried has added it already."""
    newest = select(verdicts.c.verdict).where(verdicts.c.version == version).order_by(verdicts.c.number.desc()).limit(1)
    if not _is_same(connection.execute(newest).scalar(), row["verdict"]):
        added = {"version": version, "judged_at": row["registered_at"], "verdict": row["verdict"]}
        connection.execute(insert(verdicts).values(added))


def _is_same(stored: object, values: object) -> bool:
    """Whether the JSON that was stored is that of these values, whose tuples come back as lists."""
    return json.dumps(stored, sort_keys=True) == json.dumps(values, sort_keys=True)


def _model_row(record: ModelRecord, metrics: ModelMetrics | None, verdict: GateVerdict | None) -> _Row:
    values = json_values(record)
    status = ModelStatus(values.pop("status"))
    # Named only where it is in production, since who may not put one there may not name the column.
    judged = (
        {"judged": status} if status not in _IN_PRODUCTION else {"judged": ModelStatus.BLESSED, "production": status}
    )
    return {
        **values,
        **judged,
        "metrics": {} if metrics is None else json_values(metrics),
        "verdict": None if verdict is None else json_values(verdict),
        "registered_at": utc_now(),
    }


def _short(digest: str | None) -> str:
    return f"{digest[:12]}…" if digest else "(none)"


def _change(row: Row[Any]) -> StableChange:
    decision = Decision(row.requested_by, row.approved_by, row.approval_reason)
    return StableChange(row.version, row.previous_stable, row.promoted_at.replace(tzinfo=UTC), decision)


def _promote(connection: Connection, version: int, decision: Decision) -> None:
    query = select(models.c.status, models.c.digest).where(models.c.version == version)
    row = connection.execute(query.with_for_update()).first()
    if row is None or row.digest == "":
        raise ContractError(f"model version {version} is not {'exported' if row else 'registered'}: export it first")
    status = row.status
    if status == ModelStatus.REJECTED:
        raise ContractError(f"model version {version} was rejected: it cannot become stable")
    if status == ModelStatus.STABLE:
        return
    previous_stable = connection.execute(select(models.c.version).where(models.c.status == ModelStatus.STABLE)).scalar()
    # Who was previous before is simply what it was judged to be; who was stable is what a rollback goes back to.
    for old, new in ((ModelStatus.PREVIOUS, None), (ModelStatus.STABLE, ModelStatus.PREVIOUS)):
        connection.execute(update(models).where(models.c.production == old).values(production=new))
    decided = json_values(decision)
    stable = {"production": ModelStatus.STABLE, **decided}
    connection.execute(update(models).where(models.c.version == version).values(stable))
    change = {"version": version, "previous_stable": previous_stable, "promoted_at": utc_now(), **decided}
    connection.execute(insert(promotions).values(change))
