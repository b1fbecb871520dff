"""From the form to what is scanned and the program's flags."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sniffer.core.errors import SettingsError
from sniffer.core.records import SCAN_ID_PATTERN
from sniffer_airflow.names import dag_run_text, name_of_run
from sniffer_airflow.scan.form import NightlyTarget, ScanForm, scan_params
from sniffer_airflow.scan.plan import ScanPlan, advice, plan_scan, scan_id_of
from sniffer_airflow.scan.timetable import NightsAndBackfills
from sniffer_airflow.scan.window import RunDates

DAY, NEXT = datetime(2026, 11, 5, tzinfo=UTC), datetime(2026, 11, 6, tzinfo=UTC)
NIGHTLY = RunDates("scheduled", run_after=NEXT, logical_date=DAY, interval_start=DAY, interval_end=NEXT)
BACKFILL = RunDates("backfill", run_after=NEXT, logical_date=DAY, interval_start=DAY, interval_end=NEXT)
MANUAL = RunDates("manual", run_after=datetime(2026, 11, 22, 13, 30, tzinfo=UTC))
DUE = NightsAndBackfills("30 3 * * 1").next_after(NEXT) + timedelta(hours=6)
NOT_SET = NightlyTarget()
FORM = {name: param.value for name, param in scan_params().items()}


def plan(dates: RunDates = MANUAL, nightly: NightlyTarget = NOT_SET, **fields: Any) -> ScanPlan:
    return plan_scan(
        run_name="scan_bucket.manual__1",
        dag_run="scan_bucket/manual__1",
        dates=dates,
        form=ScanForm.parse(FORM | fields),
        nightly=nightly,
        next_due=DUE,
    )


TARGET = NightlyTarget("nightly", "uploads/{{ ds }}/")


@pytest.mark.parametrize(
    ("fields", "bucket", "prefix"),
    [
        ({}, "nightly", "uploads/2026-11-05/"),
        ({"bucket": "", "prefix": ""}, "nightly", "uploads/2026-11-05/"),
        ({"prefix": "logos/"}, "nightly", "logos/"),
        ({"bucket": "other"}, "other", ""),
        ({"bucket": "other", "prefix": "{{ ds_nodash }}/"}, "other", "20261105/"),
        ({"bucket": " s3://other/a/{{ ds }}/ "}, "other", "a/2026-11-05/"),
        ({"bucket": "s3://other"}, "other", ""),
        ({"bucket": "S3://other/", "prefix": "logos/"}, "other", "logos/"),
        ({"bucket": "s3://other/a/", "prefix": "a/"}, "other", "a/"),
    ],
)
def test_what_the_form_leaves_open_comes_from_the_variables(fields: dict[str, str], bucket: str, prefix: str) -> None:
    planned = plan(NIGHTLY, TARGET, **fields)
    assert (planned.bucket, planned.prefix) == (bucket, prefix)


def test_the_nightly_target_may_be_a_url_too() -> None:
    planned = plan(NIGHTLY, NightlyTarget("s3://nightly/uploads/{{ ds }}/"))
    assert (planned.bucket, planned.prefix) == ("nightly", "uploads/2026-11-05/")
    with pytest.raises(SettingsError, match="in the Variables sniffer_bucket and sniffer_prefix"):
        plan(NIGHTLY, NightlyTarget("s3://nightly/uploads/", "other/"))


def test_a_night_scans_its_partition_or_its_window_never_both() -> None:
    by_partition, by_window = (
        plan(NIGHTLY, TARGET, look_back_days=0),
        plan(NIGHTLY, NightlyTarget("nightly"), look_back_days=0),
    )
    assert (by_partition.prefix, by_partition.since, by_partition.until) == ("uploads/2026-11-05/", None, None)
    assert (by_window.prefix, by_window.since, by_window.until) == ("", DAY, NEXT)
    assert [(p.late_before, p.late_prefix) for p in (by_partition, by_window)] == [(None, ()), (None, ())]


@pytest.mark.parametrize(("start", "end", "is_last"), [(0, 6, False), (12, 18, False), (18, 24, True), (6, 30, True)])
def test_a_dated_prefix_that_is_scanned_several_times_a_day_is_scanned_whole_by_the_run_after_midnight(
    start: int, end: int, is_last: bool
) -> None:
    """Each run is of the day in which its interval began; before the day is over it may find nothing."""
    since, until = DAY + timedelta(hours=start), DAY + timedelta(hours=end)
    dates = RunDates("scheduled", run_after=until, logical_date=since, interval_start=since, interval_end=until)
    planned = plan(dates, TARGET)
    assert (planned.prefix, planned.since, planned.until) == ("uploads/2026-11-05/", None, None)
    assert planned.allow_empty is not is_last
    assert bool(planned.late_prefix) is is_last, "what came late is looked for once a day"
    assert plan(dates, TARGET, allow_empty="off").allow_empty is False
    assert plan(dates, TARGET, look_back_days=1).late_prefix == ("uploads/2026-11-04/",)
    assert plan(dates, NightlyTarget("nightly")).allow_empty is False


def test_a_night_looks_back_in_its_window_or_under_the_prefixes_of_earlier_days() -> None:
    by_window = plan(NIGHTLY, NightlyTarget("nightly"))
    assert (by_window.since, by_window.until, by_window.late_before) == (DAY - timedelta(days=2), NEXT, DAY)
    assert by_window.late_prefix == ()
    by_partition = plan(NIGHTLY, TARGET)
    assert (by_partition.prefix, by_partition.since, by_partition.late_before) == ("uploads/2026-11-05/", None, None)
    assert by_partition.late_prefix == ("uploads/2026-11-04/", "uploads/2026-11-03/")
    assert by_partition.arguments()[4:6] == [f"--late-prefix={prefix}" for prefix in by_partition.late_prefix]
    more = plan(NIGHTLY, NightlyTarget.parse("nightly", "{{ year }}-{{ month }}/", '{"look_back_days": 6}'))
    assert (more.prefix, more.late_prefix) == ("2026-11/", ("2026-10/",))


@pytest.mark.parametrize("dates", [BACKFILL, MANUAL])
def test_only_nights_look_back_unless_somebody_asks(dates: RunDates) -> None:
    silent = plan(dates, NightlyTarget.parse("nightly", "{{ ds }}/", '{"look_back_days": 6}'))
    assert (silent.late_before, silent.late_prefix) == (None, ())
    asked = plan(dates, bucket="pics", prefix="{{ ds }}/", look_back_days=1)
    assert len(asked.late_prefix) == 1
    assert plan(NIGHTLY, NightlyTarget("nightly"), since="2026-11-01T00:00:00Z").late_before is None
    assert plan(NIGHTLY, NightlyTarget("nightly"), retry_failed=True).since == DAY


def test_what_is_scanned_is_said_with_both_ends() -> None:
    assert plan(BACKFILL, bucket="pics", prefix="a/").in_words() == (
        "s3://pics/a/, modified from 2026-11-05T00:00:00+00:00 until just before 2026-11-06T00:00:00+00:00"
    )
    assert plan(bucket="pics", since="2026-11-05T02:00:00+02:00").in_words() == (
        "s3://pics/, modified from 2026-11-05T00:00:00+00:00"
    )
    assert plan(BACKFILL, bucket="pics", prefix="{{ ds }}/").in_words() == "s3://pics/2026-11-05/, whenever modified"
    assert (
        plan(NIGHTLY, NightlyTarget("nightly"))
        .in_words()
        .endswith("; looks back for what came late: what was modified before 2026-11-05T00:00:00+00:00")
    )
    assert plan(NIGHTLY, NightlyTarget("pix", "{{ ds }}/")).in_words() == (
        "s3://pix/2026-11-05/, whenever modified; looks back for what came late: s3://pix/2026-11-04/, "
        "s3://pix/2026-11-03/"
    )
    assert plan(bucket="pics", retry_failed=True).in_words() == "what failed before under s3://pics/"


def test_a_backfill_of_a_bucket_without_dates_is_advised_to_be_one_run() -> None:
    assert advice(plan(BACKFILL, bucket="pics", prefix="a/"), BACKFILL).startswith(
        "each day of this backfill lists all of s3://pics/a/"
    )
    assert advice(plan(BACKFILL, bucket="pics", prefix="{{ ds }}/"), BACKFILL) == ""
    assert advice(plan(NIGHTLY, NightlyTarget("pics")), NIGHTLY) == ""


def test_a_scan_is_named_by_its_run_and_its_target() -> None:
    mine = scan_id_of("scan_bucket.scheduled__2026-11-05T00:00:00+00:00", "pics", "a/")
    assert mine.startswith("scan_bucket.scheduled__2026-11-05T00:00:00+00:00.pics-")
    assert mine == scan_id_of("scan_bucket.scheduled__2026-11-05T00:00:00+00:00", "pics", "a/")
    others = {scan_id_of("scan_bucket.scheduled__2026-11-05T00:00:00+00:00", *t) for t in (("pics", ""), ("b", "a/"))}
    assert len(others | {mine}) == 3
    assert SCAN_ID_PATTERN.fullmatch(scan_id_of("scan_bucket." + "x" * 100, "b" * 63, "é/"))


def test_the_rules_of_the_nightly_target_hold_for_it_alone() -> None:
    rules = '{"include": [".jpg"], "exclude": ["a/*", "b/*"], "allow_empty": true}'
    nightly = NightlyTarget.parse("nightly", "", rules)
    planned = plan(NIGHTLY, nightly)
    assert (planned.include, planned.exclude, planned.allow_empty) == ((".jpg",), ("a/*", "b/*"), True)
    planned = plan(NIGHTLY, nightly, exclude=[".html"])
    assert (planned.include, planned.exclude, planned.allow_empty) == ((".jpg",), (".html",), True)
    assert not plan(NIGHTLY, nightly, allow_empty="off").allow_empty
    planned = plan(NIGHTLY, nightly, bucket="other")
    assert (planned.include, planned.exclude, planned.allow_empty) == ((), (), False)
    assert NightlyTarget.parse("nightly", "", "") == NightlyTarget("nightly")


@pytest.mark.parametrize(
    ("bucket", "prefix", "message"),
    [
        ("a b", "", "the Variable sniffer_bucket must be a bucket name such as .*, not 'a b'"),
        ("s3:/pics", "", "the Variable sniffer_bucket must be a bucket name"),
        ("pics", "{{ tomorrow }}/", "the Variable sniffer_prefix must be a prefix of object keys"),
        ("pics", "x" * 1025, "the Variable sniffer_prefix must be .* of at most 1,024 characters"),
        ("pics", "a\0b", "the Variable sniffer_prefix has a character that no program can be given"),
    ],
)
def test_a_wrong_target_in_the_variables_is_named(bucket: str, prefix: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        NightlyTarget.parse(bucket, prefix, "")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('{"look_back_days": 32}', "look_back_days in the Variable sniffer_scan must be a whole number from 0 to 31"),
        ("{", "the Variable sniffer_scan is not JSON .*; it looks like"),
        ("[]", "the Variable sniffer_scan must be a JSON object"),
        (
            '{"includes": []}',
            "the Variable sniffer_scan has no field includes .did you mean include.*; it may have include, exclude, "
            "allow_empty, look_back_days, flood_band",
        ),
        ('{"flood_band": "5 %"}', "flood_band in the Variable sniffer_scan must be a band of shares such as 0..0.05"),
        ('{"include": ".jpg"}', "include in the Variable sniffer_scan must be a list of at most 100 texts, not '.jpg'"),
        ('{"exclude": [1]}', "exclude in the Variable sniffer_scan must be a list of at most 100 texts"),
        (
            '{"allow_empty": "no"}',
            'allow_empty in the Variable sniffer_scan must be one of null, true, false, "on", "off", not \'no\'',
        ),
        ('{"inventory": "s3://reports"}', "inventory in the Variable sniffer_scan must be a report of S3 Inventory"),
        ('{"inventory": "s3://reports/"}', "inventory in the Variable sniffer_scan must be a report of S3 Inventory"),
        ('{"inventory": "s3://rep/a/", "shards": 1}', "inventory of the Variable sniffer_scan says where to cut"),
    ],
)
def test_wrong_rules_in_the_variable_are_named(more: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        NightlyTarget.parse("nightly", "", more)


def test_the_flags_of_a_manual_scan_by_defaults() -> None:
    assert plan(bucket="pics").arguments() == [
        f"--scan-id={scan_id_of('scan_bucket.manual__1', 'pics', '')}",
        "--dag-run=scan_bucket/manual__1",
        "--bucket=pics",
        "--model-version=stable",
    ]


def test_every_field_of_the_form_reaches_the_program() -> None:
    planned = plan(
        bucket="pics",
        prefix="-odd prefix/{{ ds }}",
        since="2026-11-05T02:00:00+02:00",
        until="2026-11-06T00:00:00Z",
        model_version="7",
        consumers=3,
        limit=100,
        include=[".jpg", " uploads/*.png ", ""],
        exclude=["-x"],
        allow_empty="on",
        retry_failed=True,
        dry_run=True,
        flood_band="0..0.05",
        shards=4,
        shards_at_a_time=2,
    )
    assert planned.arguments()[2:] == [
        "--bucket=pics",
        "--prefix=-odd prefix/2026-11-22",
        "--since=2026-11-05T00:00:00+00:00",
        "--until=2026-11-06T00:00:00+00:00",
        "--model-version=7",
        "--limit=100",
        "--include=.jpg",
        "--include=uploads/*.png",
        "--exclude=-x",
        "--allow-empty",
        "--retry-failed",
        "--dry-run",
        "--flood-band=0..0.05",
        "--flood-source=-odd prefix/{{ ds }}",
        "--shards=4",
    ]
    assert planned.scan_arguments() == ["--consumers=3"] and planned.document()["shards_at_a_time"] == 2
    assert "--rescan" in plan(bucket="pics", rescan=True).arguments()


def test_a_report_of_the_form_or_of_the_rules_says_where_to_cut_what_is_cut() -> None:
    nightly = NightlyTarget("pics", inventory="s3://reports/pics/daily/")
    assert plan(NIGHTLY, nightly).arguments()[-1] == "--inventory=s3://reports/pics/daily/"
    own = "s3://reports/pics/daily/2026-11-26T01-00Z/manifest.json"
    assert plan(NIGHTLY, nightly, inventory=own).arguments()[-1] == f"--inventory={own}"
    assert plan(NIGHTLY, nightly, bucket="others").inventory is None
    for whole in ({"limit": 5}, {"dry_run": True}, {"retry_failed": True}, {"shards": 1}):
        assert plan(NIGHTLY, nightly, **whole).inventory is None, "the rules are for whole scans"
        with pytest.raises(SettingsError, match="^S3 Inventory and .*: a report says where to cut a scan"):
            plan(NIGHTLY, nightly, inventory=own, **whole)


def test_a_night_says_by_when_the_next_is_due_and_no_other_run_does() -> None:
    # The sixth is a Friday, and the schedule is for Mondays.
    assert plan(NIGHTLY, TARGET).scan_arguments() == ["--next-due=2026-11-09T09:30:00+00:00"]
    for dates in (BACKFILL, MANUAL):
        assert plan(dates, TARGET).scan_arguments() == []


@pytest.mark.parametrize("which", ["rescan", "retry_failed"])
def test_the_programs_understand_every_flag(which: str, tmp_path: Path) -> None:
    times = {"since": "2026-11-05T00:00:00Z", "until": "2026-11-06T00:00:00Z"}
    fields: dict[str, Any] = {**times, which: True}
    rules: dict[str, Any] = {"include": [".jpg", "a/*"], "exclude": ["-b c"], "allow_empty": "on"}
    planned = plan(bucket="pics", prefix="-é", consumers=1, limit=1, dry_run=True, **rules, **fields)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SNIFFER_")}
    cut = [sys.executable, "-m", "sniffer.scan.plan", *planned.arguments(), f"--result={tmp_path / 'plan'}"]
    subprocess.run(cut, env=environ, timeout=60, check=True)
    ((scan,),) = [json.loads((tmp_path / "plan").read_text())["scans"]]
    files = [f"--result={tmp_path / 'certificate'}", f"--progress={tmp_path / 'progress'}"]
    command = [sys.executable, "-m", "sniffer.scan", *scan["words"], *planned.scan_arguments(), *files]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert "SNIFFER_DATABASE_URL is not set" in done.stderr  # past the flags, at the settings


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "no bucket: .*airflow variables set sniffer_bucket NAME"),
        ({"bucket": "s3://pics/x", "prefix": "y"}, "two prefixes, 'x' and 'y', in the fields Bucket and Prefix"),
        (
            {"bucket": "s3://a b/x"},
            "bucket in the form of scan_bucket must be a bucket name such as .*, not 's3://a b/x'",
        ),
        ({"bucket": "s3:/pics"}, "bucket in the form of scan_bucket must be a bucket name such as .*, not 's3:/pics'"),
        ({"bucket": "pics", "look_back_days": 1}, "Days to look back: this manual run has no day to look back from"),
        ({"bucket": "pics", "look_back_days": 1, "retry_failed": True}, "Days to look back and Retry failed"),
        ({"bucket": "pics", "look_back_days": 1, "since": "2026-11-05T00:00:00Z"}, "Days to look back and Modified"),
        ({"bucket": "pics", "rescan": True, "retry_failed": True}, "either Rescan or Retry failed"),
        ({"bucket": "pics", "since": "2026-11-06T00:00:00Z", "until": "2026-11-05T00:00:00Z"}, "earlier than until"),
        (
            {"bucket": "pics", "since": "yesterday"},
            "since in the form of scan_bucket must be a time such as 2026-11-05T00:00:00Z, not 'yesterday'",
        ),
        (
            {"bucket": "pics", "include": ".jpg"},
            "include in the form of scan_bucket must be a list of at most 100 texts, not '.jpg'",
        ),
        ({"bucket": "pics", "prefix": "{{ tomorrow }}"}, "must be a prefix of object keys; its placeholders may be"),
        ({"bucket": "pics", "prefix": "é" * 513}, "longer than an S3 key"),
    ],
)
def test_what_no_single_field_shows_is_checked(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        plan(**fields)


@pytest.mark.parametrize(
    "run_id",
    [
        "scheduled__2026-11-05T00:00:00+00:00",
        "manual__2026-11-22T13:30:00.123456+00:00_aB3",
        "by hand, ö/~",
        "x" * 250,
        "",
    ],
)
def test_a_run_s_scan_id_is_valid_and_its_own(run_id: str) -> None:
    scan_id = name_of_run("scan_bucket", run_id)
    assert SCAN_ID_PATTERN.fullmatch(scan_id)
    assert scan_id == name_of_run("scan_bucket", run_id)
    assert scan_id not in {name_of_run("scan_bucket", other) for other in (f"{run_id}x", f"{run_id} ", "by hand, ü/~")}
    assert len(dag_run_text("scan_bucket", run_id)) <= 255


def test_a_plain_run_id_stays_readable() -> None:
    assert name_of_run("scan_bucket", "scheduled__2026-11-05T00:00:00+00:00") == (
        "scan_bucket.scheduled__2026-11-05T00:00:00+00:00"
    )


def test_a_share_of_flagged_images_is_compared_with_nights_of_the_same_template() -> None:
    dated = plan(bucket="pics", prefix="u/{{ ds }}/")
    assert (dated.flood_source, dated.prefix) == ("u/{{ ds }}/", "u/2026-11-22/")
    assert plan(bucket="pics", prefix="u/").flood_source is None


def test_the_nightly_band_is_that_of_the_variable_and_no_other_bucket_s() -> None:
    nightly = NightlyTarget.parse("nightly", "", '{"flood_band": "off"}')
    assert plan(nightly=nightly).flood_band == "off"
    assert plan(nightly=nightly, flood_band="auto").flood_band == "auto"
    assert plan(nightly=nightly, bucket="pics").flood_band is None
