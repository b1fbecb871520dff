"""The tables as SQLAlchemy sees them, for this package alone; the migrations create them, a test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    BINARY,
    JSON,
    VARBINARY,
    BigInteger,
    Column,
    Double,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)
from sqlalchemy.dialects.mysql import DATETIME

SCHEMA_VERSION = "0004"
"""The migration that this code needs; `python -m sniffer.scan.migrate` brings a database there."""

metadata = MetaData()

models = Table(
    "models",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    # Empty while the version is reserved and not yet exported.
    Column("digest", String(64)),
    Column("backbone_digest", String(64)),
    Column("preprocessing_version", String(64)),
    Column("threshold", Double),
    Column("metrics", JSON),
    Column("status", String(16)),
    Column("registered_at", DATETIME(fsp=6)),
    Column("candidate_digest", String(64), unique=True),
    Column("verdict", JSON(none_as_null=True)),
)

reports = Table(
    "reports",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    # HTML, compressed by zlib; beside `models`, which every scan reads.
    Column("page", LargeBinary),
)

COUNT_COLUMNS = ("listed", "unchanged", "predicted", "reused", "unreadable", "gone", "failed")

scans = Table(
    "scans",
    metadata,
    Column("scan_id", String(120), primary_key=True),
    Column("bucket", String(255)),
    Column("prefix", VARBINARY(1024)),
    Column("window_since", DATETIME(fsp=6)),
    Column("window_until", DATETIME(fsp=6)),
    Column("model_version", Integer),
    Column("dag_run", String(255)),
    Column("request", JSON),
    Column("state", String(16)),
    *(Column(name, BigInteger) for name in COUNT_COLUMNS),
    Column("images_per_s", Double),
    Column("certificate", JSON),
    Column("started_at", DATETIME(fsp=6)),
    Column("finished_at", DATETIME(fsp=6)),
)

images = Table(
    "images",
    metadata,
    Column("image_id", BigInteger, primary_key=True),
    Column("identity", BINARY(32), unique=True),
    Column("bucket", String(255)),
    # Binary: S3 compares keys byte by byte, and every MySQL collation pads, folds or both somewhere.
    Column("object_key", VARBINARY(1024)),
    Column("etag", String(255)),
    Column("size_bytes", BigInteger),
    Column("last_modified", DATETIME(fsp=6)),
    Column("content_hash", BINARY(32)),
)

predictions = Table(
    "predictions",
    metadata,
    Column("image_id", BigInteger, primary_key=True),
    Column("model_version", Integer, primary_key=True),
    Column("scan_id", String(120)),
    Column("outcome", String(16)),
    Column("score", Double),
    # Set on `predicted` rows only: one row per distinct bytes, so that the look-up for reuse never walks a
    # million copies of one placeholder image.
    Column("scored_hash", BINARY(32)),
    Column("error_code", String(64)),
    Column("error_message", String(500)),
    Column("scored_at", DATETIME(fsp=6)),
)
