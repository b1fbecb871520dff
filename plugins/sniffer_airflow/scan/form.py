"""The trigger form of `scan_bucket`: its fields with their types, bounds and help, as Airflow params."""

from __future__ import annotations

from airflow.sdk import Param

from sniffer_airflow.names import BUCKET_VARIABLE, PREFIX_VARIABLE

_WHAT, _MODEL, _HOW = "What to scan", "Model", "How to scan"

BUCKET_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$"
"""Covers S3's rules, those of old us-east-1 buckets, access point aliases, and other stores with an S3 API."""


def scan_params() -> dict[str, Param]:
    """The form's fields. Every default validates, and together they mean: the nightly target, whole, by `stable`."""
    return {
        # Nullable, because the form lets nobody leave a plain string empty.
        "bucket": Param(
            None,
            type=["null", "string"],
            pattern=f"^$|{BUCKET_PATTERN}",
            title="Bucket",
            section=_WHAT,
            description=f"Name of the S3 bucket, without s3://. Empty: the Variable `{BUCKET_VARIABLE}`, with the "
            f"prefix of the Variable `{PREFIX_VARIABLE}` unless one is given below.",
        ),
        "prefix": Param(
            None,
            type=["null", "string"],
            maxLength=1024,
            title="Prefix",
            section=_WHAT,
            description="Only keys that begin with this, such as `uploads/{{ ds }}/`. Empty: the whole bucket. "
            "`{{ ds }}` (2026-11-05), `{{ ds_nodash }}`, `{{ year }}`, `{{ month }}` and `{{ day }}` stand for the day "
            "of a scheduled or backfill run, and for the logical date of a manual one.",
        ),
        "since": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="Modified since",
            section=_WHAT,
            description="Only objects last modified at or after this time. Both times empty: no limit in a manual run; "
            "the run's day in a scheduled or backfill run whose prefix has no date.",
        ),
        "until": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="Modified before",
            section=_WHAT,
            description="Only objects last modified before this time.",
        ),
        "limit": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="At most this many images",
            section=_WHAT,
            description="Images already known do not count, so that limited scans make progress. Empty: all.",
        ),
        "model_version": Param(
            "stable",
            type="string",
            pattern=r"^(stable|[1-9][0-9]{0,17})$",
            title="Model version",
            section=_MODEL,
            description="A version number, or `stable`: the one in production when the scan starts.",
        ),
        "rescan": Param(
            False,
            type="boolean",
            title="Rescan",
            section=_MODEL,
            description="Score images again that already have a result from this model version.",
        ),
        "retry_failed": Param(
            False,
            type="boolean",
            title="Retry failed",
            section=_MODEL,
            description="Only try again what an earlier scan recorded as failed.",
        ),
        "consumers": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=256,
            title="Consumers",
            section=_HOW,
            description="Processes that decode and score. Empty: fitted to the machine.",
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            section=_HOW,
            description="List, say how many images are new and how long they would take; change nothing.",
        ),
    }
