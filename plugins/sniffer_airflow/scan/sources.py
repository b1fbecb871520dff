"""Sources: the buckets that are scanned by a DAG of their own each, as a table that somebody wrote down.

In: the table as parsed YAML or JSON. Out: the sources that are right, and for each of the others what is wrong with it:
it stops itself alone. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from airflow.exceptions import AirflowTimetableInvalid
from airflow.sdk import Param

from sniffer.core import variables as var
from sniffer.core.assumed_role import is_role_arn
from sniffer.core.errors import SettingsError
from sniffer.core.text import one_line
from sniffer_airflow.forms.fields import Json, count_field, share_field, switch_field, text_field, text_rule
from sniffer_airflow.forms.values import Values, check_value, checked
from sniffer_airflow.names import source_dag
from sniffer_airflow.pools import SCANS_AT_A_TIME
from sniffer_airflow.scan.form import COUNTS, LOOK_BACK_DAYS, NightlyTarget, inventory_of, nightly_fields, split_s3_url
from sniffer_airflow.scan.timetable import EVERY_NIGHT, NightsAndBackfills
from sniffer_airflow.scan.window import is_dated

SUMMARY_SCHEDULE = "0 6 * * *"
LATE_AFTER_HOURS = 6
MOST_SOURCES = 200
EXAMPLE = '{"sources": [{"name": "uploads", "bucket": "my-images"}]}'

_TAKEN = frozenset({"bucket", "sources", "summary"})
"""`scan_bucket` and our other DAGs and files have these names."""
_MOST_AT_A_TIME = 64
_MOST_HOURS = 7 * 24


class NamedTwice(dict[str, Json]):
    """An object of the table in which a name is there more than once, so that nobody knows what was meant."""

    def __init__(self, found: Mapping[str, Json], name: str) -> None:
        super().__init__(found)
        self.name = name


@dataclass(frozen=True)
class ScanSource:
    """A bucket, or a part of one, that is scanned by a DAG of its own."""

    name: str
    nightly: NightlyTarget
    schedule: str
    """Cron, UTC."""
    connection: str
    """The AWS Connection whose credentials are used; empty: as `scan_bucket`."""
    environ: Mapping[str, str]
    """What else the program is told: role, region, who pays, budgets, how large a shard is."""
    form: Mapping[str, int]
    """Defaults of its DAG's form."""
    at_a_time: int
    late_after: timedelta

    @property
    def dag_id(self) -> str:
        """The DAG that scans it."""
        return source_dag(self.name)

    @property
    def grows(self) -> bool:
        """Whether a day's prefix is scanned several times, the first times before the day is over."""
        return is_dated(self.nightly.prefix) and not re.fullmatch(r"\d+\s+\d+\s.*", self.schedule)


@dataclass(frozen=True)
class WrongSource:
    """One that cannot be scanned. `name` is empty when it has none that a DAG could have."""

    name: str
    problem: str

    @property
    def dag_id(self) -> str:
        """The DAG that says so; empty when there is none."""
        return source_dag(self.name) if self.name else ""


@dataclass(frozen=True)
class SourceTable:
    """All that the table says; with no table, empty."""

    sources: tuple[ScanSource, ...] = ()
    wrong: tuple[WrongSource, ...] = ()
    summary_schedule: str = SUMMARY_SCHEDULE

    def source_of(self, dag_id: str) -> ScanSource:
        """What that DAG scans; SettingsError says what is wrong with its source, or that it is gone."""
        for wrong in self.wrong:
            if wrong.dag_id == dag_id:
                raise SettingsError(wrong.problem)
        for source in self.sources:
            if source.dag_id == dag_id:
                return source
        raise SettingsError(f"the table of sources has none that {dag_id} could scan (any more)")


def parse_table(document: Json, place: str, *, in_pods: bool) -> SourceTable:
    """The table, of which each source is right or wrong on its own. SettingsError when it is no table at all.

    `place` says where it comes from, in words. With `in_pods` no source can have a Connection.
    """
    if not isinstance(document, Mapping):
        raise SettingsError(f"{place} must be an object such as {EXAMPLE}")
    _refuse_named_twice(document, place)
    values = checked({name: value for name, value in document.items() if name != "sources"}, _TABLE_FIELDS, place)
    entries = document.get("sources")
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise SettingsError(f"sources in {place} must be a list of objects such as {EXAMPLE}")
    if len(entries) > MOST_SOURCES:
        raise SettingsError(f"sources in {place} must be at most {MOST_SOURCES}, not {len(entries)}")
    names = Counter(_name_of(entry) for entry in entries)
    sources: list[ScanSource] = []
    wrong: dict[str, WrongSource] = {}
    for number, entry in enumerate(entries, 1):
        name = _name_of(entry)
        try:
            _check_name(entry, name, names[name], f"source {number} in {place}")
            sources.append(_parse_source(entry, name, f"the source {name} in {place}", in_pods=in_pods))
        except SettingsError as error:
            known = name if name and is_name(name) else ""
            wrong.setdefault(known or f"#{number}", WrongSource(known, str(error)))
    return SourceTable(tuple(sources), tuple(wrong.values()), values.text("summary_schedule") or SUMMARY_SCHEDULE)


def is_name(text: str) -> bool:
    """Whether a source may be called that: its DAG's id is made of it."""
    return re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", text) is not None and text not in _TAKEN


def is_schedule(text: str) -> bool:
    """Whether it is a cron expression of five fields, once an hour at most."""
    if not re.fullmatch(r"\d{1,2}(\s+\S+){4}", text.strip()):
        return False
    try:
        NightsAndBackfills(text.strip()).validate()
    except AirflowTimetableInvalid:
        return False
    return True


_SCHEDULE = text_rule("cron expression such as 0 3 * * *, in UTC and at most hourly,", is_schedule)
_CONNECTION = text_rule("name of an Airflow Connection", lambda text: bool(re.fullmatch(r"[\w.-]{1,250}", text)))
_ROLE = text_rule(f"role such as {var.ASSUME_ROLE.example}", is_role_arn)
_REGION = text_rule("region such as eu-west-1", lambda text: bool(re.fullmatch(r"[a-z0-9-]{1,40}", text)))

_TABLE_FIELDS = {"summary_schedule": text_field("", "", rule=_SCHEDULE)}

_BUDGETS = {
    "error_budget": var.ERROR_BUDGET.name,
    "gone_budget": var.GONE_BUDGET.name,
    "unreadable_budget": var.UNREADABLE_BUDGET.name,
}

FIELDS: Mapping[str, Param] = {
    "name": text_field("", ""),
    **nightly_fields(),
    "schedule": text_field("", "", rule=_SCHEDULE),
    "connection": text_field("", "", rule=_CONNECTION),
    "role": text_field("", "", rule=_ROLE),
    "external_id": text_field("", ""),
    "region": text_field("", "", rule=_REGION),
    "requester_pays": switch_field("", ""),
    **{name: share_field("", "", may_be_one=True, may_be_zero=True) for name in _BUDGETS},
    "shard_keys": count_field("", ""),
    "at_a_time": count_field("", "", most=_MOST_AT_A_TIME),
    "late_after_hours": count_field("", "", most=_MOST_HOURS),
}
"""What a source may have."""


def _name_of(entry: Json) -> str:
    name = entry.get("name") if isinstance(entry, Mapping) else None
    return name.strip() if isinstance(name, str) else ""


def _check_name(entry: Json, name: str, times: int, where: str) -> None:
    if not isinstance(entry, Mapping):
        raise SettingsError(f'{where} must be an object such as {{"name": "uploads", "bucket": "my-images"}}')
    if "name" not in entry:
        raise SettingsError(f"{where} has no name")
    check_value(entry["name"], FIELDS["name"], f"name of {where}")
    if not is_name(name):
        raise SettingsError(
            f"name of {where} must be of a to z, 0 to 9, _ and -, at most 40 characters, and not one of "
            f"{', '.join(sorted(_TAKEN))}; it is {one_line(repr(name), 60)}"
        )
    if times > 1:
        raise SettingsError(f"name of {where}: {times} sources are called {name}, so that none of them is scanned")


def _parse_source(entry: Json, name: str, place: str, *, in_pods: bool) -> ScanSource:
    if not isinstance(entry, Mapping):  # _check_name has refused it
        raise TypeError(entry)
    _refuse_named_twice(entry, place)
    values = checked(entry, FIELDS, place)
    nightly = _target(values, place)
    schedule = values.text("schedule") or EVERY_NIGHT
    if is_dated(nightly.prefix) and schedule.split()[2:] != ["*", "*", "*"]:
        raise SettingsError(
            f"schedule of {place} must be daily, such as 0 3 * * *, since its prefix has a date: {schedule} would "
            "leave days out"
        )
    connection = values.text("connection") or ""
    if connection and in_pods:
        raise SettingsError(
            f"connection of {place}: programs run as pods, whose AWS credentials are those of their service account; "
            "leave it out, and name a role"
        )
    return ScanSource(
        name=name,
        nightly=nightly,
        schedule=schedule,
        connection=connection,
        environ=_environ(values, place),
        form={name: count for name in COUNTS if (count := values.count(name)) is not None},
        at_a_time=values.count("at_a_time") or SCANS_AT_A_TIME,
        late_after=timedelta(hours=values.count("late_after_hours") or LATE_AFTER_HOURS),
    )


def _target(values: Values, place: str) -> NightlyTarget:
    bucket, of_url = split_s3_url(values.text("bucket") or "")
    prefix = values.text("prefix") or ""
    if not bucket:
        raise SettingsError(f"bucket of {place} is missing")
    if of_url and prefix and of_url != prefix:
        raise SettingsError(f"bucket and prefix of {place} name two prefixes, {of_url!r} and {prefix!r}: leave one out")
    look_back_days = values.count("look_back_days")
    return NightlyTarget(
        bucket,
        of_url or prefix,
        values.lines("include"),
        values.lines("exclude"),
        values.switch("allow_empty"),
        LOOK_BACK_DAYS if look_back_days is None else look_back_days,
        values.text("flood_band") or "",
        values.count("shards"),
        values.count("shards_at_a_time"),
        inventory_of(values, place),
    )


def _environ(values: Values, place: str) -> dict[str, str]:
    """The variables of the program that the source sets."""
    role, external_id, region = (values.text(name) for name in ("role", "external_id", "region"))
    if external_id and not role:
        raise SettingsError(f"external_id of {place} belongs to a role, and there is none")
    environ: dict[str, str] = {}
    if role:
        environ |= {var.ASSUME_ROLE.name: role, var.ASSUME_ROLE_EXTERNAL_ID.name: external_id or ""}
    if region:
        environ |= {"AWS_REGION": region, "AWS_DEFAULT_REGION": region}
    if (pays := values.setting("requester_pays")) is not None:
        environ[var.REQUESTER_PAYS.name] = "yes" if pays else "no"
    for field, variable in _BUDGETS.items():
        if (share := values.share(field)) is not None:
            environ[variable] = str(share)
    if (keys := values.count("shard_keys")) is not None:
        environ[var.SHARD_KEYS.name] = str(keys)
    return environ


def _refuse_named_twice(document: Mapping[str, Json], place: str) -> None:
    if isinstance(document, NamedTwice):
        raise SettingsError(f"{one_line(document.name, 60)} is there more than once in {place}")
