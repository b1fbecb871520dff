"""Names that DAGs, operators and pages share: Connections, Variables, Assets, and how a DAG run names its scan."""

from __future__ import annotations

import hashlib
import re

from airflow.sdk import Asset

AWS_CONNECTION = "aws_default"
MYSQL_CONNECTION = "mysql_default"
SERVING_CONNECTION = "sniffer_serving"

BUCKET_VARIABLE = "sniffer_bucket"
PREFIX_VARIABLE = "sniffer_prefix"

SCANNED_IMAGES = Asset(name="scanned_images")
"""A scan whose certificate holds; an event's `extra` carries the scan's id, what was asked, and its counts."""

OWNER = "trust-and-safety"

_SCAN_ID_CHARS = 120
_DAG_RUN_CHARS = 255


def scan_id_of(dag_id: str, run_id: str) -> str:
    """The scan of a DAG run: the same for every retry and clear, so that they resume it; matches SCAN_ID_PATTERN."""
    full = f"{dag_id}.{run_id}"
    plain = re.sub(r"[^A-Za-z0-9._:+-]", "-", full)
    if plain == full and len(full) <= _SCAN_ID_CHARS:
        return full
    digest = hashlib.sha256(full.encode()).hexdigest()[:12]
    return f"{plain[: _SCAN_ID_CHARS - len(digest) - 1]}-{digest}"


def dag_run_text(dag_id: str, run_id: str) -> str:
    """The DAG run as the `scans` table records it, for people; cut to the column's width."""
    return f"{dag_id}/{run_id}"[:_DAG_RUN_CHARS]
