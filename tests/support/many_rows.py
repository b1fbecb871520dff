"""A database with a million images, made by the server itself, and how many rows a query of it reads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, event

IMAGES = 1_000_000
FAILURES = IMAGES // 100
SCANS = 3
WALK_ROWS = 1000
"""A smaller table may be read from end to end."""

_DIGITS = "(SELECT 0 n UNION ALL " + " UNION ALL ".join(f"SELECT {digit}" for digit in range(1, 10)) + ")"
_NUMBERS = "SELECT 1 + " + " + ".join(f"d{power}.n * {10**power}" for power in range(6)) + " AS n FROM "
_NUMBERS += " CROSS JOIN ".join(f"{_DIGITS} d{power}" for power in range(6))

MODEL = f"""
    INSERT INTO models
        (version, digest, backbone_digest, preprocessing_version, threshold, metrics, judged, production, registered_at)
    VALUES (1, '{"d" * 64}', '{"b" * 64}', 'p1', 0.999, '{{}}', 'blessed', 'stable', UTC_TIMESTAMP(6)),
           (2, '{"e" * 64}', '{"b" * 64}', 'p1', 0.999, '{{}}', 'blessed', 'previous', UTC_TIMESTAMP(6))
"""
IMAGE_ROWS = f"""
    INSERT INTO images (image_id, identity, bucket, object_key, etag, size_bytes, last_modified, content_hash)
    SELECT n, UNHEX(SHA2(n, 256)), IF(n % 10 = 0, 'quiet', 'large'), CONCAT('u/', n % 100, '/', n, '.jpg'),
           LEFT(SHA2(n, 256), 32), n, '2026-11-20' + INTERVAL n SECOND, UNHEX(SHA2(CONCAT('content', n % 500000), 256))
    FROM ({_NUMBERS}) numbers
"""
# Of ten images one is in the quiet bucket, where nothing failed and no score is high. Of a hundred of the large one
# failed, one was unreadable, and five were reused.
OUTCOME = """
    CASE WHEN image_id % 10 = 0 THEN 'predicted' WHEN image_id % 100 = 1 THEN 'failed'
         WHEN image_id % 100 = 2 THEN 'unreadable' WHEN image_id % 20 = 3 THEN 'reused' ELSE 'predicted' END
"""
SCORE = "IF(bucket = 'quiet', 0.0001, 1) * CONV(LEFT(SHA2(image_id, 256), 8), 16, 10) / 4294967296"
PREDICTION_ROWS = f"""
    INSERT INTO predictions (image_id, model_version, scan_number, run_number, outcome, score, scored_hash, error_code,
        error_message, decoder_version, scored_at)
    SELECT image_id, 1, 1 + image_id % {SCANS}, 1, outcome, IF(has_score, score, NULL),
        IF(outcome = 'predicted', content_hash, NULL), IF(has_score, NULL, 'some_code'), NULL,
        IF(outcome = 'unreadable', 1, NULL), UTC_TIMESTAMP(6)
    FROM (SELECT image_id, outcome, outcome IN ('predicted', 'reused') AS has_score, score, content_hash
          FROM (SELECT image_id, content_hash, {OUTCOME} AS outcome, {SCORE} AS score FROM images) drawn) rowed
"""


def identity(number: int) -> bytes:
    """The identity of the image with that number."""
    return hashlib.sha256(str(number).encode()).digest()


def content_hash(number: int) -> bytes:
    """The content hash of the image with that number."""
    return hashlib.sha256(f"content{number % 500_000}".encode()).digest()


def fill(execute: Callable[..., None]) -> None:
    """Make the rows in a database that is migrated and has the scans; `execute` runs statements on one connection."""
    execute("SET SESSION unique_checks = 0, foreign_key_checks = 0", MODEL, IMAGE_ROWS, PREDICTION_ROWS)


@dataclass(slots=True)
class Reads:
    """What was executed meanwhile: each statement, what the server read for it, and its plan."""

    rows: int = 0
    plans: list[str] = field(default_factory=list)
    walks: list[str] = field(default_factory=list)
    """Tables that a plan reads from end to end."""


@contextmanager
def counted_reads() -> Iterator[Reads]:
    """Count the rows that any engine's statements read from tables and indexes, and explain what can be explained."""
    reads = Reads()
    within = False

    def before(connection: Connection, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        nonlocal within
        if within or not _is_query(statement):
            return
        within = True
        plan = connection.exec_driver_sql(f"EXPLAIN FORMAT=TRADITIONAL {statement}", parameters).mappings().all()
        reads.plans += [str(dict(step)) for step in plan]
        reads.walks += [str(step["table"]) for step in plan if _is_walk(str(step["table"]), step["type"], step["rows"])]
        connection.exec_driver_sql("FLUSH STATUS")
        within = False

    def after(connection: Connection, cursor: Any, statement: str, *_: object) -> None:
        nonlocal within
        if within or not _is_query(statement):
            return
        within = True
        found = connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler_read%%'").all()
        reads.rows += sum(int(value) for _, value in found)
        within = False

    event.listen(Engine, "before_cursor_execute", before)
    event.listen(Engine, "after_cursor_execute", after)
    try:
        yield reads
    finally:
        event.remove(Engine, "before_cursor_execute", before)
        event.remove(Engine, "after_cursor_execute", after)


def _is_walk(table: str, access: object, rows: Any) -> bool:
    """Whether that step of a plan reads a large table from end to end; <derived2> is what an earlier step has found."""
    return access == "ALL" and int(rows or 0) > WALK_ROWS and not table.startswith("<")


def _is_query(statement: str) -> bool:
    return statement.lstrip().upper().startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH"))
