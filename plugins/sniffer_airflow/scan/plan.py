"""Plan stage of `scan_bucket`: from the form, the run's dates and the Variables to what is scanned, and its flags.

Pure. Wrong or contradictory input is a SettingsError that names the field and the way out.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sniffer.core.errors import SettingsError
from sniffer.core.flags import render_flags
from sniffer_airflow.forms.fields import Json
from sniffer_airflow.names import BUCKET_VARIABLE, PREFIX_VARIABLE, shortened
from sniffer_airflow.scan.form import NightlyTarget, ScanForm, split_s3_url
from sniffer_airflow.scan.window import RunDates, Window, day_of, fill_in_day, is_dated, is_day_over, window_of

PREFIX_BYTES = 1024
_TARGET_DIGITS = 8


@dataclass(frozen=True)
class ScanPlan:
    """One scan, with every default that Airflow knows filled in; `None` leaves a flag to the program's default."""

    scan_id: str
    dag_run: str
    bucket: str
    prefix: str
    since: datetime | None
    until: datetime | None
    late_before: datetime | None
    late_prefix: tuple[str, ...]
    """What an earlier run should have seen; see ScanRequest."""
    model_version: str
    consumers: int | None
    limit: int | None
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    allow_empty: bool
    rescan: bool
    retry_failed: bool
    dry_run: bool
    flood_band: str | None
    flood_source: str | None
    """What its share of flagged images is compared with: scans of the same prefix, before its day was filled in."""
    shards: int | None
    shards_at_a_time: int | None
    inventory: str | None = None
    """The report of S3 Inventory by which it is cut."""
    next_due: datetime | None = None
    """By when the schedule's next run is to have ended; None unless the schedule made this one."""

    def arguments(self) -> list[str]:
        """The flags of `python -m sniffer.scan.plan`, each as one word, so that no value can be taken for a flag."""
        others: dict[str, Json] = {
            "include": self.include,
            "exclude": self.exclude,
            "late_prefix": self.late_prefix,
            "consumers": None,
            "shards_at_a_time": None,
            "next_due": None,
        }
        return render_flags(self.document() | others)

    def scan_arguments(self) -> list[str]:
        """The flags that `python -m sniffer.scan` gets for each shard, besides those that name it."""
        return render_flags({"consumers": self.consumers, "next_due": self.document()["next_due"]})

    def document(self) -> dict[str, Json]:
        """The plan as JSON-ready values, for XCom and for people."""
        return asdict(self) | {
            "include": list(self.include),
            "exclude": list(self.exclude),
            "since": self.since and self.since.isoformat(),
            "until": self.until and self.until.isoformat(),
            "late_before": self.late_before and self.late_before.isoformat(),
            "late_prefix": list(self.late_prefix),
            "next_due": self.next_due and self.next_due.isoformat(),
        }

    def in_words(self) -> str:
        """What is scanned, with both ends of the window."""
        if self.retry_failed:
            return f"what failed before under s3://{self.bucket}/{self.prefix}"
        ends = [
            *([f"from {self.since.isoformat()}"] if self.since else []),
            *([f"until just before {self.until.isoformat()}"] if self.until else []),
        ]
        window = f"modified {' '.join(ends)}" if ends else "whenever modified"
        late = [f"s3://{self.bucket}/{prefix}" for prefix in self.late_prefix]
        if self.late_before:
            late.append(f"what was modified before {self.late_before.isoformat()}")
        return f"s3://{self.bucket}/{self.prefix}, {window}" + (
            f"; looks back for what came late: {', '.join(late)}" if late else ""
        )


@dataclass(frozen=True)
class PlannedScan:
    """What the tasks after the scan need of its plan's document."""

    scan_id: str
    dag_run: str
    dry_run: bool
    retry_failed: bool


def plan_scan(
    *,
    run_name: str,
    dag_run: str,
    dates: RunDates,
    form: ScanForm,
    nightly: NightlyTarget,
    next_due: datetime | None = None,
) -> ScanPlan:
    """Resolve target, day and window, and check what no single field can show."""
    bucket, template = _target(form, nightly)
    prefix = fill_in_day(template, day_of(dates))
    if len(prefix.encode()) > PREFIX_BYTES:
        raise SettingsError(f"the prefix is longer than an S3 key can be ({PREFIX_BYTES} bytes): {prefix[:60]!r}…")
    # A bucket of the form never mixes with the Variables'.
    rules = NightlyTarget() if form.bucket else nightly
    days = _days_to_look_back(dates, form, rules, dated_prefix=is_dated(template))
    window = window_of(dates, form.since, form.until, dated_prefix=is_dated(template))
    late_before = None
    if days and window.since:
        late_before, window = window.since, Window(window.since - timedelta(days=days), window.until)
    earlier = [fill_in_day(template, day_of(dates) - timedelta(days=n)) for n in range(1, days + 1)]
    return ScanPlan(
        scan_id=scan_id_of(run_name, bucket, prefix),
        dag_run=dag_run,
        bucket=bucket,
        prefix=prefix,
        since=window.since,
        until=window.until,
        late_before=late_before,
        # Of a prefix without a day in it, such as one of the month, most are the same.
        late_prefix=tuple(dict.fromkeys(one for one in earlier if one != prefix)),
        model_version=form.model_version,
        consumers=form.consumers,
        limit=form.limit,
        include=form.include or rules.include,
        exclude=form.exclude or rules.exclude,
        allow_empty=_may_be_empty(dates, form, rules, dated_prefix=is_dated(template)),
        rescan=form.rescan,
        retry_failed=form.retry_failed,
        dry_run=form.dry_run,
        flood_band=form.flood_band or rules.flood_band or None,
        flood_source=template if is_dated(template) else None,
        shards=form.shards or rules.shards,
        shards_at_a_time=form.shards_at_a_time or rules.shards_at_a_time,
        inventory=_inventory(form, rules),
        next_due=next_due if dates.is_nightly else None,
    )


def advice(planned: ScanPlan, dates: RunDates) -> str:
    """What whoever made the backfill may not have meant; empty when there is nothing to say."""
    if not dates.is_backfill or planned.since is None or planned.until is None:
        return ""
    return (
        f"each day of this backfill lists all of s3://{planned.bucket}/{planned.prefix}, whose keys have no date that "
        "the prefix names: where that takes long, trigger one run instead, with Modified since and Modified before"
    )


def _inventory(form: ScanForm, rules: NightlyTarget) -> str | None:
    """By what it is cut; nothing where it is not cut, unless the form says both."""
    in_one_piece = {
        "Shards, which is 1": (form.shards or rules.shards) == 1,
        "Maximum number of images": form.limit is not None,
        "Dry run": form.dry_run,
        "Retry failed": form.retry_failed,
    }
    others = [name for name, is_so in in_one_piece.items() if is_so]
    if form.inventory and others:
        raise SettingsError(
            f"S3 Inventory and {', '.join(others)}: a report says where to cut a scan, and this one is in one piece; "
            "leave one of them out"
        )
    return None if others else form.inventory or rules.inventory or None


def _may_be_empty(dates: RunDates, form: ScanForm, rules: NightlyTarget, *, dated_prefix: bool) -> bool:
    """Whether it is good to find nothing: by the form, else by the rules, or since the day has only begun."""
    if form.allow_empty is not None:
        return form.allow_empty
    return rules.allow_empty or (dated_prefix and dates.is_nightly and not is_day_over(dates))


def _days_to_look_back(dates: RunDates, form: ScanForm, rules: NightlyTarget, *, dated_prefix: bool) -> int:
    """How many days before its own a run scans as well: its own wish, or every night."""
    asked = form.look_back_days
    if not asked:
        by_default = dates.is_nightly and not (form.since or form.until or form.retry_failed)
        if dated_prefix and not is_day_over(dates):
            by_default = False  # the run that ends the day does
        return rules.look_back_days if by_default and asked is None else 0
    if form.retry_failed:
        raise SettingsError("Days to look back and Retry failed: a retry lists nothing, leave one of them out")
    if form.since or form.until:
        raise SettingsError("Days to look back and Modified since or before: set the times, which say it all, alone")
    if not dates.is_periodic and not dated_prefix:
        raise SettingsError(
            "Days to look back: this manual run has no day to look back from, and no time limit; leave the field out, "
            "or enter a prefix with a date such as uploads/{{ ds }}/"
        )
    return asked


def scan_id_of(run_name: str, bucket: str, prefix: str) -> str:
    """Names a scan by its run and its target: the same for every retry and clear, unless they have another target."""
    digest = hashlib.sha256(f"{bucket}/{prefix}".encode()).hexdigest()[:_TARGET_DIGITS]
    return shortened(f"{run_name}.{bucket}-{digest}")


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
