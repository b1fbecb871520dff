"""The trigger form of `scan_bucket`: its fields, as Airflow params, and what was filled in, as one record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from airflow.sdk import Param

from sniffer.core.errors import SettingsError
from sniffer.core.flag_records import FloodRule
from sniffer_airflow.forms.fields import (
    MORE_OPTIONS,
    Json,
    count_field,
    in_variable,
    lines_field,
    literally,
    setting_field,
    switch_field,
    text_field,
    text_rule,
    time_field,
)
from sniffer_airflow.forms.values import Values, checked
from sniffer_airflow.forms.variables import checked_json, checked_text, in_words, variables_now
from sniffer_airflow.names import BUCKET_VARIABLE, PREFIX_VARIABLE, SCAN_DAG, SCAN_VARIABLE, form_of
from sniffer_airflow.scan.window import has_only_known_placeholders

PREFIX_CHARS = 1024
MOST_CONSUMERS = 256
MOST_SHARDS = 1000
"""Airflow maps a task over at most 1,024 items."""
INVENTORY_CHARS = 1100
"""A key of S3 has at most 1,024."""
INVENTORY_HELP = (
    "Cut into shards by this report of S3 Inventory: its manifest.json, or the folder of its dated reports, "
    "s3://reports/uploads/daily/, for the newest. An old or wrong one makes shards uneven and loses nothing."
)
LOOK_BACK_DAYS = 2
"""How far a nightly scan looks back by default: S3 dates an upload by its start, and takes days over a large one."""
MOST_LOOK_BACK_DAYS = 31

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
"""Covers S3's rules, those of old us-east-1 buckets, access point aliases, and other stores with an S3 API."""
_S3_URL = re.compile(r"s3://([^/]+)/*(.*)", re.IGNORECASE)
_INVENTORY = re.compile(r"s3://[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]/(?:.+/|(?:.+/)?manifest\.json)", re.DOTALL)
_VERSION = re.compile(r"stable|[1-9][0-9]{0,17}")


def split_s3_url(text: str) -> tuple[str, str]:
    """Bucket and prefix of `s3://bucket/prefix`; text that is no such URL is a bucket's name alone."""
    match = _S3_URL.fullmatch(text.strip())
    return (match[1], match[2]) if match else (text.strip(), "")


def is_bucket_name(text: str) -> bool:
    """Whether a bucket may have that name."""
    return _BUCKET.fullmatch(text) is not None


def _is_target(text: str) -> bool:
    return not text.strip() or is_bucket_name(split_s3_url(text)[0])


BUCKET_RULE = text_rule("bucket name such as my-images, or URL such as s3://my-images/uploads/", _is_target)
PREFIX_RULE = text_rule(
    "prefix of object keys; its placeholders may be {{ ds }}, {{ ds_nodash }}, {{ year }}, {{ month }}, {{ day }}",
    has_only_known_placeholders,
)
VERSION_RULE = text_rule(
    "model version: a number such as 7, or the word stable", lambda text: bool(_VERSION.fullmatch(text))
)

INVENTORY_RULE = text_rule(
    "report of S3 Inventory: s3://bucket/…/manifest.json, or the folder of the dated reports, s3://bucket/…/",
    lambda text: not text.strip() or bool(_INVENTORY.fullmatch(text.strip())),
)


def _is_band(text: str) -> bool:
    try:
        FloodRule.parse(text.strip() or "auto")
    except ValueError:
        return False
    return True


BAND_RULE = text_rule("band of shares such as 0..0.05, or auto, or off", _is_band)


@dataclass(frozen=True)
class ScanForm:
    """The form as it was filled in; None is a field that was left empty. `bucket` may still be an s3:// URL."""

    bucket: str | None
    prefix: str | None
    since: datetime | None
    until: datetime | None
    limit: int | None
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    allow_empty: bool | None
    dry_run: bool
    model_version: str
    rescan: bool
    retry_failed: bool
    consumers: int | None
    look_back_days: int | None
    flood_band: str | None
    shards: int | None
    shards_at_a_time: int | None
    inventory: str | None = None

    @classmethod
    def parse(cls, params: Mapping[str, Json], *, dag_id: str = SCAN_DAG) -> ScanForm:
        """From a run's params of `scan_bucket`, or of a source's DAG; SettingsError names the field that is wrong."""
        fields = _fields(_UNSEEN) if dag_id == SCAN_DAG else _without_target(_fields(_UNSEEN))
        values = checked(params, fields, form_of(dag_id))
        form = cls(
            bucket=values.text("bucket"),
            prefix=values.text("prefix"),
            since=values.time("since"),
            until=values.time("until"),
            limit=values.count("limit"),
            include=values.lines("include"),
            exclude=values.lines("exclude"),
            allow_empty=values.setting("allow_empty"),
            dry_run=values.switch("dry_run"),
            model_version=values.text("model_version") or "stable",
            rescan=values.switch("rescan"),
            retry_failed=values.switch("retry_failed"),
            consumers=values.count("consumers"),
            look_back_days=values.count("look_back_days"),
            flood_band=values.text("flood_band"),
            shards=values.count("shards"),
            shards_at_a_time=values.count("shards_at_a_time"),
            inventory=values.text("inventory"),
        )
        if form.rescan and form.retry_failed:
            raise SettingsError("choose either Rescan or Retry failed: a rescan retries failed images as well")
        return form


_RULES = (
    *("include", "exclude", "allow_empty", "look_back_days", "flood_band"),
    *("shards", "shards_at_a_time", "inventory"),
)
COUNTS = ("limit", "consumers")
"""Fields of the form that a table of sources gives other defaults."""
_EXAMPLE = '{"exclude": [".html", ".json"], "allow_empty": true}'


@dataclass(frozen=True)
class NightlyTarget:
    """What the Variables say: the target of every run whose form names no bucket. Empty is not set."""

    bucket: str = ""
    prefix: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    allow_empty: bool = False
    look_back_days: int = LOOK_BACK_DAYS
    flood_band: str = ""
    shards: int | None = None
    shards_at_a_time: int | None = None
    inventory: str = ""

    @classmethod
    def parse(cls, bucket: str, prefix: str, more: str) -> NightlyTarget:
        """From the Variables' texts; `more` is JSON, or empty. SettingsError names the Variable that is wrong."""
        fields = _fields(_UNSEEN)
        values = checked_json(more, SCAN_VARIABLE, {name: in_variable(fields[name]) for name in _RULES}, _EXAMPLE)
        look_back_days = values.count("look_back_days")
        return cls(
            checked_text(bucket, BUCKET_VARIABLE, fields["bucket"]),
            checked_text(prefix, PREFIX_VARIABLE, fields["prefix"]),
            values.lines("include"),
            values.lines("exclude"),
            values.switch("allow_empty"),
            LOOK_BACK_DAYS if look_back_days is None else look_back_days,
            values.text("flood_band") or "",
            values.count("shards"),
            values.count("shards_at_a_time"),
            inventory_of(values, in_words(SCAN_VARIABLE)),
        )


def inventory_of(values: Values, place: str) -> str:
    """The inventory of a nightly target; SettingsError where there is nothing to cut by it."""
    inventory = values.text("inventory") or ""
    if inventory and values.count("shards") == 1:
        raise SettingsError(f"inventory of {place} says where to cut, and shards, which is 1, not to: leave one out")
    return inventory


@dataclass(frozen=True)
class _Today:
    """What the help texts say of the Variables: a sentence on each, and whether nothing listed is allowed by them."""

    bucket: str = ""
    prefix: str = ""
    allow_empty: bool | None = None
    rules: str = in_words(SCAN_VARIABLE)
    """Who says what else the nightly scan is to do, in words."""
    nightly: str = "if the bucket is left empty too, "
    """When it is asked."""


_UNSEEN = _Today()
"""For fields that values are checked by, and that nobody sees."""


def scan_params() -> dict[str, Param]:
    """The form's fields. Every default validates; together the defaults mean: the nightly target, with `stable`."""
    bucket, prefix, more = variables_now(BUCKET_VARIABLE, PREFIX_VARIABLE, SCAN_VARIABLE)
    return _fields(_Today(_bucket_help(bucket), _prefix_default(prefix), _allow_empty_now(more)))


def source_params(name: str, nightly: NightlyTarget, defaults: Mapping[str, int]) -> dict[str, Param]:
    """The form of a source's DAG: bucket and prefix are the source's own. The defaults mean: as every night."""
    fields = _without_target(_fields(_Today(allow_empty=nightly.allow_empty, rules=f"the source {name}", nightly="")))
    return fields | {field: Param(value, schema=fields[field].schema) for field, value in defaults.items()}


def nightly_fields() -> dict[str, Param]:
    """Those fields of the form that a table of sources may have."""
    fields = _fields(_UNSEEN)
    return {name: in_variable(fields[name]) for name in ("bucket", "prefix", *_RULES, *COUNTS)}


def _without_target(fields: Mapping[str, Param]) -> dict[str, Param]:
    return {name: field for name, field in fields.items() if name not in ("bucket", "prefix")}


def _fields(today: _Today) -> dict[str, Param]:
    return {**_main_fields(today), **_more_fields(today)}


def _main_fields(today: _Today) -> dict[str, Param]:
    return {
        "bucket": text_field("Bucket", today.bucket, rule=BUCKET_RULE),
        "prefix": text_field(
            "Prefix",
            "Scan only objects whose key starts with this, such as uploads/{{ ds }}/ where {{ ds }} is the day of the "
            "run, 2026-11-05. {{ ds_nodash }}, {{ year }}, {{ month }} and {{ day }} work as well. "
            f"{today.prefix}",
            rule=PREFIX_RULE,
            longest=PREFIX_CHARS,
        ),
        "since": time_field(
            "Modified since",
            "Scan only objects modified at or after this time (UTC). *If both times are empty:* a manual run has no "
            "time limit; a nightly or backfill run takes its own day, unless the prefix already selects one.",
        ),
        "until": time_field("Modified before", "Scan only objects modified before this time (UTC)."),
        "limit": count_field(
            "Maximum number of images",
            "Stop after this many new images. Images that already have a result do not count. *If empty:* no limit.",
        ),
        "dry_run": switch_field(
            "Dry run", "List the bucket and estimate how long the scan would take. Nothing is scored or stored."
        ),
    }


def _more_fields(today: _Today) -> dict[str, Param]:
    return {
        "model_version": text_field(
            "Model version",
            "A version number, or the word stable for the version in production when the scan starts.",
            default="stable",
            rule=VERSION_RULE,
            section=MORE_OPTIONS,
        ),
        "include": lines_field(
            "Only keys like",
            f"Suffixes such as .jpg, or patterns of the whole key such as {literally('uploads/*.jp*g')}, one a line. "
            "What they do not match is counted as skipped. *If empty:* all keys; "
            f"{today.nightly}what {today.rules} says.",
            section=MORE_OPTIONS,
        ),
        "exclude": lines_field(
            "Leave out keys like",
            "Suffixes or patterns of keys that are left out and counted as skipped, one a line. Folder markers always "
            "are. *If empty:* as for the field above.",
            section=MORE_OPTIONS,
        ),
        "look_back_days": count_field(
            "Days to look back",
            "Also scan the days before the run's own, for images that came late: S3 dates an upload by its start. What "
            f"has a result already costs a look-up only. *If empty:* a nightly run looks back as {today.rules} "
            f"says, else {LOOK_BACK_DAYS} days; other runs do not.",
            least=0,
            most=MOST_LOOK_BACK_DAYS,
            section=MORE_OPTIONS,
        ),
        "allow_empty": setting_field(
            "Allow empty",
            "Succeed even if nothing is listed under the prefix. By default that fails the run, since the prefix is "
            "more often misspelt. A time window in which nothing was modified is always fine."
            + (" The Variable does not count for a bucket that is entered above." if today.nightly else ""),
            decided_by=today.rules,
            now=today.allow_empty,
            section=MORE_OPTIONS,
        ),
        "flood_band": text_field(
            "Flagged share",
            "Bounds of the share of flagged images such as 0..0.05, outside of which the scan is held for a person to "
            f"decide; auto: what is likely after the last scans; off: never. *If empty:* {today.nightly}what "
            f"{today.rules} says, else auto.",
            rule=BAND_RULE,
            section=MORE_OPTIONS,
        ),
        "rescan": switch_field(
            "Rescan", "Score images again even if this model version has already scored them.", section=MORE_OPTIONS
        ),
        "retry_failed": switch_field(
            "Retry failed",
            "Scan only images that failed in an earlier scan, or could not be read.",
            section=MORE_OPTIONS,
        ),
        "shards": count_field(
            "Shards",
            "Cut the keys into so many ranges, each a scan and a mapped task of its own, which is retried and cleared "
            f"alone; 1: one scan. *If empty:* as {today.rules} says, else by size: one for about a million keys.",
            most=MOST_SHARDS,
            section=MORE_OPTIONS,
        ),
        "shards_at_a_time": count_field(
            "Shards at a time",
            "So many shards are scanned at the same time; the pool and the limit of the DAG may allow fewer. "
            f"*If empty:* as {today.rules} says, else as many as those allow.",
            most=MOST_SHARDS,
            section=MORE_OPTIONS,
        ),
        "inventory": text_field(
            "S3 Inventory",
            f"{INVENTORY_HELP} *If empty:* as {today.rules} says, else by samples of the listing.",
            rule=INVENTORY_RULE,
            longest=INVENTORY_CHARS,
            section=MORE_OPTIONS,
        ),
        "consumers": count_field(
            "Consumers",
            f"Number of worker processes that decode and score images, at most {MOST_CONSUMERS}. *If empty:* chosen "
            "to fit the machine.",
            most=MOST_CONSUMERS,
            section=MORE_OPTIONS,
        ),
    }


def _bucket_help(variable: str | None) -> str:
    match variable:
        case None:
            default = f"the nightly target, unknown at the moment: the Variable {BUCKET_VARIABLE} cannot be read."
        case "":
            default = f"the nightly target, but none is set. Enter a bucket, or set the Variable {BUCKET_VARIABLE}."
        case now:
            default = f"the nightly target, currently {literally(now)} (Variable {BUCKET_VARIABLE})."
    return f"Name of the S3 bucket, or a URL such as s3://my-images/uploads/. *If empty:* {default}"


def _prefix_default(variable: str | None) -> str:
    match variable:
        case None:
            nightly = "unknown at the moment"
        case "":
            nightly = "currently not set"
        case now:
            nightly = f"currently {literally(now)}"
    return (
        "*If empty:* the whole bucket; if the bucket is left empty too, the nightly prefix, "
        f"{nightly} (Variable {PREFIX_VARIABLE})."
    )


def _allow_empty_now(variable: str | None) -> bool | None:
    """What the Variable says; None while it is wrong or unreadable, which every run will say."""
    try:
        return None if variable is None else NightlyTarget.parse("", "", variable).allow_empty
    except SettingsError:
        return None
