"""Plan stage of `scan_bucket`: from the form, the run's dates and the Variables to what is scanned, and its flags.

Pure. Wrong or contradictory input is a SettingsError that names the field and the way out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from sniffer.core.errors import SettingsError
from sniffer.core.flags import render_flags
from sniffer_airflow.forms.fields import Json
from sniffer_airflow.names import BUCKET_VARIABLE, PREFIX_VARIABLE
from sniffer_airflow.scan.form import NightlyTarget, ScanForm, split_s3_url
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
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    allow_empty: bool
    rescan: bool
    retry_failed: bool
    dry_run: bool

    def arguments(self) -> list[str]:
        """The flags of `python -m sniffer.scan`, each as one word, so that no value can be taken for a flag."""
        return render_flags(self.document() | {"include": self.include, "exclude": self.exclude})

    def document(self) -> dict[str, Json]:
        """The plan as JSON-ready values, for XCom and for people."""
        return asdict(self) | {
            "include": list(self.include),
            "exclude": list(self.exclude),
            "since": self.since and self.since.isoformat(),
            "until": self.until and self.until.isoformat(),
        }


def plan_scan(*, scan_id: str, dag_run: str, dates: RunDates, form: ScanForm, nightly: NightlyTarget) -> ScanPlan:
    """Resolve target, day and window, and check what no single field can show."""
    bucket, template = _target(form, nightly)
    prefix = fill_in_day(template, day_of(dates))
    if len(prefix.encode()) > PREFIX_BYTES:
        raise SettingsError(f"the prefix is longer than an S3 key can be ({PREFIX_BYTES} bytes): {prefix[:60]!r}…")
    # A bucket of the form never mixes with the Variables'.
    rules = NightlyTarget() if form.bucket else nightly
    window = window_of(dates, form.since, form.until, dated_prefix=is_dated(template))
    return ScanPlan(
        scan_id=scan_id,
        dag_run=dag_run,
        bucket=bucket,
        prefix=prefix,
        since=window.since,
        until=window.until,
        model_version=form.model_version,
        consumers=form.consumers,
        limit=form.limit,
        include=form.include or rules.include,
        exclude=form.exclude or rules.exclude,
        allow_empty=rules.allow_empty if form.allow_empty is None else form.allow_empty,
        rescan=form.rescan,
        retry_failed=form.retry_failed,
        dry_run=form.dry_run,
    )


def _target(form: ScanForm, nightly: NightlyTarget) -> tuple[str, str]:
    """Bucket and prefix template; a bucket of the form never mixes with the Variables' prefix."""
    if form.bucket:
        bucket, prefix = _taken_apart(form.bucket, form.prefix or "", "the fields Bucket and Prefix")
    elif nightly.bucket:
        places = f"the Variables {BUCKET_VARIABLE} and {PREFIX_VARIABLE}"
        bucket, prefix = _taken_apart(nightly.bucket, nightly.prefix, places)
        prefix = form.prefix or prefix
    else:
        raise SettingsError(
            "no bucket: enter one in the form, or set the nightly target with "
            f"`airflow variables set {BUCKET_VARIABLE} NAME`"
        )
    return bucket, prefix


def _taken_apart(target: str, prefix: str, places: str) -> tuple[str, str]:
    """A bucket's name or s3:// URL, and the prefix beside it, as bucket and prefix."""
    bucket, of_url = split_s3_url(target)
    if of_url and prefix and of_url != prefix:
        raise SettingsError(f"two prefixes, {of_url!r} and {prefix!r}, in {places}: leave one out")
    return bucket, of_url or prefix
