"""The trigger form of `backfill_bucket`: its fields, as Airflow params, and what was filled in, as one record."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from airflow.sdk import Param

from sniffer.core import variables as var
from sniffer.core.errors import SettingsError
from sniffer_airflow.executors.hours import WorkingHours, time_of_day, time_zone
from sniffer_airflow.forms.fields import (
    MORE_OPTIONS,
    Json,
    amount_field,
    choice_field,
    count_field,
    lines_field,
    literally,
    share_field,
    text_field,
    text_rule,
)
from sniffer_airflow.forms.values import Values, checked
from sniffer_airflow.names import BACKFILL_DAG, RATES_VARIABLE, form_of
from sniffer_airflow.pools import BACKFILL_POOL, POOLS
from sniffer_airflow.scan.form import (
    BAND_RULE,
    BUCKET_RULE,
    INVENTORY_CHARS,
    INVENTORY_HELP,
    INVENTORY_RULE,
    MOST_CONSUMERS,
    MOST_SHARDS,
    PREFIX_CHARS,
    PREFIX_RULE,
    VERSION_RULE,
)

ORDERS = {
    "oldest": "Oldest first",
    "newest": "Newest first",
    "keys": "By key",
    "keys-backwards": "By key, backwards",
}
"""As `sniffer recount` names them, each with its label."""
GROWTH = 0.05
"""The share by which a bucket may grow past what was approved, where the form says none."""


def _empty_or(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def holds(text: str) -> bool:
        try:
            return not text.strip() or parse(text.strip()) is not None
        except ValueError:
            return False

    return holds


_TIME_RULE = text_rule("time of the day from 00:00 to 23:59 such as 22:00", _empty_or(time_of_day))
_ZONE_RULE = text_rule("time zone such as UTC or Europe/Berlin", _empty_or(time_zone))


@dataclass(frozen=True)
class ApprovalLimits:
    """Above any of them a person must approve the run; None is no limit. Without any, a person must always."""

    images: int | None = None
    hours: float | None = None
    cost: float | None = None


@dataclass(frozen=True)
class BackfillForm:
    """The form as it was filled in; None is a field that was left empty. `bucket` may still be an s3:// URL."""

    bucket: str
    prefix: str | None
    limits: ApprovalLimits
    growth: float
    hours: str
    """Such as `22:00-06:00 Europe/Berlin`; empty: the whole day."""
    order: str
    shards: int | None
    shards_at_a_time: int | None
    consumers: int | None
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    model_version: str
    flood_band: str | None
    inventory: str | None = None

    @classmethod
    def parse(cls, params: Mapping[str, Json]) -> BackfillForm:
        """From a run's params; SettingsError names the field that is wrong."""
        values = checked(params, backfill_params(), form_of(BACKFILL_DAG))
        bucket = values.text("bucket")
        if not bucket:
            raise SettingsError(
                f"no bucket: enter its name in the field bucket of {form_of(BACKFILL_DAG)}, such as my-images"
            )
        growth = values.share("growth")
        return cls(
            bucket=bucket,
            prefix=values.text("prefix"),
            limits=ApprovalLimits(values.count("most_images"), values.amount("most_hours"), values.amount("most_cost")),
            growth=GROWTH if growth is None else growth,
            hours=_hours(values),
            order=values.text("order") or next(iter(ORDERS)),
            shards=values.count("shards"),
            shards_at_a_time=values.count("shards_at_a_time"),
            consumers=values.count("consumers"),
            include=values.lines("include"),
            exclude=values.lines("exclude"),
            model_version=values.text("model_version") or "stable",
            flood_band=values.text("flood_band"),
            inventory=_inventory(values),
        )


def _inventory(values: Values) -> str | None:
    inventory = values.text("inventory")
    if inventory and values.count("shards") == 1:
        raise SettingsError(
            f"inventory in {form_of(BACKFILL_DAG)} says where to cut, and shards, which is 1, not to: leave one empty"
        )
    return inventory


def _hours(values: Values) -> str:
    start, end, zone = (values.text(name) for name in ("night_from", "night_until", "time_zone"))
    if not (start or end):
        return ""
    if not (start and end):
        given, missing = ("night_from", "night_until") if start else ("night_until", "night_from")
        raise SettingsError(
            f"{missing} in {form_of(BACKFILL_DAG)} is empty, {given} is not: give both, or neither for the whole day"
        )
    try:
        return str(WorkingHours.parse(f"{start}-{end} {zone or 'UTC'}"))
    except ValueError as error:
        raise SettingsError(f"night_from and night_until in {form_of(BACKFILL_DAG)}: {error}") from None


def backfill_params() -> dict[str, Param]:
    """The form's fields."""
    return {**_target(), **_limits(), **_night(), **_more()}


def _target() -> dict[str, Param]:
    return {
        "bucket": text_field(
            "Bucket",
            "Name of the S3 bucket, or a URL such as s3://my-images/uploads/. Needed.",
            rule=BUCKET_RULE,
        ),
        "prefix": text_field(
            "Prefix",
            "Scan only objects whose key starts with this. *If empty:* the whole bucket.",
            rule=PREFIX_RULE,
            longest=PREFIX_CHARS,
        ),
    }


def team_limits(environ: Mapping[str, str] = os.environ) -> ApprovalLimits:
    """Those of the environment of Airflow's processes, which nobody who fills in a form can raise.

    SettingsError for nonsense, so that a limit that cannot be read is none that is lifted.
    """
    return ApprovalLimits(
        var.BACKFILL_IMAGES.read(environ), var.BACKFILL_HOURS.read(environ), var.BACKFILL_COST.read(environ)
    )


def _of_team(name: str) -> str:
    """What the team's limit of that name is, for a field's description."""
    try:
        limit = getattr(team_limits(), name)
    except SettingsError as error:  # `approve` fails by it; the form must not be lost with it
        return f" The team's limits are unknown: {literally(str(error))}."
    return "" if limit is None else f" Here a person is asked above **{limit:,.15g}** in any case, growth included."


def _limits() -> dict[str, Param]:
    above = "Above it a person must approve the run. *If empty:* no such limit; if all three are, a person always must."
    return {
        "most_images": count_field(
            "Images without approval", f"New images of the estimate. {above}{_of_team('images')}", least=0
        ),
        "most_hours": amount_field(
            "Hours without approval", f"The most that the estimate says. {above}{_of_team('hours')}"
        ),
        "most_cost": amount_field(
            "Cost without approval",
            f"The most that the estimate says, in the currency of the prices (Variable {RATES_VARIABLE}). {above}"
            f"{_of_team('cost')}",
        ),
        "growth": share_field(
            "Allowed growth",
            "The share by which the bucket may have grown past what was estimated, such as 0.05; with more the run "
            f"stops and has to be estimated again. *If empty:* {GROWTH}.",
            may_be_one=True,
            may_be_zero=True,
        ),
    }


def _night() -> dict[str, Param]:
    return {
        "night_from": text_field(
            "Work from",
            "Scan only from this time of the day on, such as 22:00. *If empty:* the whole day.",
            rule=_TIME_RULE,
        ),
        "night_until": text_field(
            "Work until",
            "And until this one, such as 06:00, on the next day if it is earlier. A shard ends at a key then, and goes "
            "on the next night.",
            rule=_TIME_RULE,
        ),
        "time_zone": text_field(
            "Time zone", "Whose clocks these are, such as Europe/Berlin. *If empty:* UTC.", rule=_ZONE_RULE
        ),
        "order": choice_field(
            "Order",
            "In which order shards begin. By time it is the mean time of a shard's new images: exact where keys are "
            "dated, rough where they are not. Within a shard it is always by key.",
            ORDERS,
        ),
    }


def _more() -> dict[str, Param]:
    return {
        "shards": count_field(
            "Shards",
            "Cut the keys into so many ranges. *If empty:* by size, one for about a million keys.",
            most=MOST_SHARDS,
            section=MORE_OPTIONS,
        ),
        "shards_at_a_time": count_field(
            "Shards at a time",
            "So many shards are scanned at the same time; the pool sniffer_backfill may allow fewer. *If empty:* as "
            f"many as the pool allows; the estimate reckons with {POOLS[BACKFILL_POOL][0]} then.",
            most=MOST_SHARDS,
            section=MORE_OPTIONS,
        ),
        "inventory": text_field(
            "S3 Inventory",
            f"{INVENTORY_HELP} *If empty:* by samples of the listing.",
            rule=INVENTORY_RULE,
            longest=INVENTORY_CHARS,
            section=MORE_OPTIONS,
        ),
        "consumers": count_field(
            "Consumers",
            f"Number of worker processes to a shard, at most {MOST_CONSUMERS}. *If empty:* chosen to fit the machine.",
            most=MOST_CONSUMERS,
            section=MORE_OPTIONS,
        ),
        "include": lines_field(
            "Only keys like", "Suffixes such as .jpg, or patterns of the whole key, one a line.", section=MORE_OPTIONS
        ),
        "exclude": lines_field(
            "Leave out keys like", "Suffixes or patterns of keys that are left out, one a line.", section=MORE_OPTIONS
        ),
        "model_version": text_field(
            "Model version",
            "A version number, or the word stable for the version in production when the run starts.",
            default="stable",
            rule=VERSION_RULE,
            section=MORE_OPTIONS,
        ),
        "flood_band": text_field(
            "Flagged share",
            "Bounds of the share of flagged images such as 0..0.05, outside of which a shard is held for a person to "
            "decide; auto: what is likely after the last scans; off: never. *If empty:* auto.",
            rule=BAND_RULE,
            section=MORE_OPTIONS,
        ),
    }
