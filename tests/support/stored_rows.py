"""What the store's tests put into MySQL, and what they find there."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import create_engine, text

from sniffer.adapters.images import DECODER_VERSION
from sniffer.adapters.mysql.database import Database
from sniffer.core.model_records import ModelRecord, ModelStatus
from sniffer.core.records import FencingToken, ListedObject, Outcome, Result, ScanRequest

WHEN = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)


def listed(key: str, etag: str = "e1", bucket: str = "bkt") -> ListedObject:
    return ListedObject(bucket, key, etag, 123, WHEN)


def predicted(key: str, score: float = 0.5, content: bytes | None = None, etag: str = "e1") -> Result:
    content_hash = hashlib.sha256(content or key.encode()).digest()
    return Result(listed(key, etag), Outcome.PREDICTED, score, content_hash)


def failed(key: str) -> Result:
    return Result(listed(key), Outcome.FAILED, error_code="fetch", error_message="S3 was away")


def record(
    database: Database,
    results: Sequence[Result],
    *,
    scan_id: str = "s",
    model_version: int = 1,
    rescan: bool = False,
    token: FencingToken | None = None,
) -> list[Outcome]:
    """Store as a new run of that scan would, or as the run of the token."""
    token = token or database.scans.open(ScanRequest(scan_id, "bkt"), model_version, 0.5)
    return database.images.record(
        results, model_version=model_version, token=token, decoder_version=DECODER_VERSION, rescan=rescan
    )


def model(version: int, threshold: float = 0.5, digest: str = "d" * 64) -> ModelRecord:
    return ModelRecord(version, digest, "b" * 64, "p1", threshold, ModelStatus.BLESSED)


def candidate(name: str, **changes: Any) -> ModelRecord:
    record = ModelRecord(0, "", "b" * 64, "p1", 0.4, ModelStatus.CANDIDATE, name * 64)
    return dataclasses.replace(record, **changes)


def rows(database_url: str, query: str) -> list[tuple[object, ...]]:
    engine = create_engine(database_url)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(text(query))]
    engine.dispose()
    return found


def change(database_url: str, statement: str) -> None:
    """Somebody else changes the database."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()
