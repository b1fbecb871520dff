"""Plan stage of `scan_bucket`: from the form, the run's dates and the Variables to what is scanned, and its flags.

Pure, but for `plan_of_run`. Wrong or contradictory input is a SettingsError that names the field and the way out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from airflow.sdk import Variable

from sniffer.core.errors import SettingsError
from sniffer.core.settings import parse_utc
from sniffer_airflow.names import BUCKET_VARIABLE, PREFIX_VARIABLE, dag_run_text, name_of_run
from sniffer_airflow.scan.form import BUCKET_PATTERN
from sniffer_airflow.scan.window import RunDates, day_of, fill_in_day, is_dated, window_of

PREFIX_BYTES = 1024


@dataclass(frozen=True)
class ScanPlan:
    """One scan, with every default that Airflow knows filled in; `None` leaves a flag to the program's default."""

    scan_id: str
    dag_run: str
    bucket: str
    prefix: str
    since: datetime | None
    until: datetime | None
    model_version: str
    consumers: int | None
    limit: int | None
    rescan: bool
    retry_failed: bool
    dry_run: bool

    def arguments(self) -> list[str]:
        """The flags of `python -m sniffer.scan`, each as one word, so that no value can be taken for a flag."""
        words: list[str] = []
        for field in fields(self):
            value = getattr(self, field.name)
            flag = f"--{field.name.replace('_', '-')}"
            if isinstance(value, datetime):
                words.append(f"{flag}={value.isoformat()}")
            elif value is True:
                words.append(flag)
            elif value is not False and value is not None and value != "":
                words.append(f"{flag}={value}")
        return words

    def document(self) -> dict[str, Any]:
        """The plan as JSON-ready values, for XCom and for people."""
        return asdict(self) | {
            "since": self.since and self.since.isoformat(),
            "until": self.until and self.until.isoformat(),
        }


def plan_of_run(dag_run: Any, params: Mapping[str, Any]) -> ScanPlan:
    """The plan of a DAG run; reads the Variables of the nightly target when the form names no bucket."""
    return plan_scan(
        scan_id=name_of_run(dag_run.dag_id, dag_run.run_id),
        dag_run=dag_run_text(dag_run.dag_id, dag_run.run_id),
        dates=RunDates.of(dag_run),
        params=params,
        variable=lambda name: str(Variable.get(name, default="")),
    )


def plan_scan(
    *,
    scan_id: str,
    dag_run: str,
    dates: RunDates,
    params: Mapping[str, Any],
    variable: Callable[[str], str],
) -> ScanPlan:
    """Resolve target, day and window, and check what no single field can show."""
    if params["rescan"] and params["retry_failed"]:
        raise SettingsError("rescan and retry_failed contradict each other: a rescan tries the failed ones again, too")
    bucket, template = _target(params, variable)
    prefix = fill_in_day(template, day_of(dates))
    if len(prefix.encode()) > PREFIX_BYTES:
        raise SettingsError(f"prefix is longer than an S3 key can be ({PREFIX_BYTES} bytes): {prefix[:60]!r}…")
    window = window_of(dates, _moment("since", params), _moment("until", params), dated_prefix=is_dated(template))
    return ScanPlan(
        scan_id=scan_id,
        dag_run=dag_run,
        bucket=bucket,
        prefix=prefix,
        since=window.since,
        until=window.until,
        **{name: params[name] for name in _AS_GIVEN},
    )


_AS_GIVEN = ("model_version", "consumers", "limit", "rescan", "retry_failed", "dry_run")


def _target(params: Mapping[str, Any], variable: Callable[[str], str]) -> tuple[str, str]:
    """Bucket and prefix template; a bucket typed in the form never mixes with the Variables' prefix."""
    bucket, prefix = params["bucket"] or "", params["prefix"] or ""
    if not bucket:
        bucket, prefix = variable(BUCKET_VARIABLE).strip(), prefix or variable(PREFIX_VARIABLE)
    if not bucket:
        raise SettingsError(
            "no bucket: name one in the form, or set the nightly target by "
            f"`airflow variables set {BUCKET_VARIABLE} NAME`"
        )
    if not re.fullmatch(BUCKET_PATTERN, bucket):
        raise SettingsError(
            f"{bucket!r} is not a bucket's name: give the name alone, without s3:// and without a prefix"
        )
    return bucket, prefix


def _moment(name: str, params: Mapping[str, Any]) -> datetime | None:
    text = params[name]
    if not text:
        return None
    try:
        return parse_utc(text)
    except ValueError:
        raise SettingsError(f"{name} ({text!r}) is not a time such as 2026-11-05T00:00:00Z") from None
