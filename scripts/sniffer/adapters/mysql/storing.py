"""One storing transaction: images, predictions and the writer's tally, in a handful of statements for a whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, update

from sniffer.adapters.mysql.decisions import Counted, StoredPrediction, WriteDecision, decide, reusable_hash
from sniffer.adapters.mysql.runs import open_run
from sniffer.adapters.mysql.schema import predictions
from sniffer.adapters.mysql.transactions import naive_utc, utc_now
from sniffer.adapters.mysql.upserts import upsert
from sniffer.core.records import SETTLED_FAILURES, FencingToken, Outcome, Result
from sniffer.core.redaction import hide

_MESSAGE_CHARS = 500
_PREDICTION_KEY = ("image_id", "model_version")


@dataclass(frozen=True, slots=True)
class Writing:
    """Who writes, and for which run of which scan."""

    token: FencingToken
    writer: int
    rescan: bool


def store_results(
    connection: Connection, results: Sequence[Result], model_version: int, decoder_version: int, write: Writing
) -> list[Outcome]:
    """Store what became of these images within a transaction, and say for each how it counts; as record()."""
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
        run.count(identity, decision, result.score if decision.replaces or before is None else before.score)
        if decision.replaces:
            fixed = {"image_id": image_id, "model_version": model_version, "decoder_version": None}
            if result.outcome is Outcome.UNREADABLE or result.error_code in SETTLED_FAILURES:
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
        "SELECT i.identity, i.image_id, p.outcome, p.error_code, p.score, p.scan_number, p.run_number,"
        " p.decoder_version, p.counted_for"
        " FROM images i LEFT JOIN predictions p ON p.image_id = i.image_id AND p.model_version = %s"
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
        row.score,
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
        "error_message": result.error_message and hide(result.error_message)[:_MESSAGE_CHARS],
        "scored_at": utc_now(),
        "counted_for": decision.counted_for and decision.counted_for.encode(),
    }
