"""The table of sources: what each field may be, and that a wrong source stops itself alone."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sniffer.core.errors import SettingsError
from sniffer_airflow.scan.form import NightlyTarget
from sniffer_airflow.scan.source_dags import _dag_of, refuse_wrong_sources, source_dags
from sniffer_airflow.scan.source_table import read_sources, sources_now
from sniffer_airflow.scan.sources import MOST_SOURCES, SourceTable, parse_table

ROLE = "arn:aws:iam::111122223333:role/reads-images"
GOOD = {"name": "good", "bucket": "pics"}
FULL = {
    "name": "partner-eu",
    "bucket": "partner-uploads",
    "prefix": "in/{{ ds }}/",
    "schedule": "30 3 * * *",
    "connection": "aws_partner",
    "role": ROLE,
    "external_id": "4711",
    "region": "eu-west-1",
    "requester_pays": True,
    "include": [".jpg"],
    "exclude": ["in/*/thumbs/*"],
    "allow_empty": True,
    "limit": 1000,
    "consumers": 3,
    "look_back_days": 0,
    "flood_band": "0..0.2",
    "error_budget": 0,
    "gone_budget": 0.5,
    "unreadable_budget": 1,
    "shard_keys": 500_000,
    "at_a_time": 3,
    "late_after_hours": 2,
}


def table_of(*sources: Any, in_pods: bool = False, **more: Any) -> SourceTable:
    return parse_table({"sources": sources, **more}, "t.yaml", in_pods=in_pods)


def test_every_field_of_a_source_arrives() -> None:
    table = table_of(GOOD, FULL, summary_schedule="0 7 * * *")
    good, full = table.sources
    assert (table.wrong, table.summary_schedule) == ((), "0 7 * * *")
    assert (good.dag_id, good.nightly, good.schedule) == ("scan_good", NightlyTarget("pics"), "0 0 * * *")
    assert (good.connection, good.environ, good.at_a_time) == ("", {}, 2)
    assert good.late_after == timedelta(hours=6)
    assert full.nightly == NightlyTarget(
        "partner-uploads",
        "in/{{ ds }}/",
        (".jpg",),
        ("in/*/thumbs/*",),
        allow_empty=True,
        look_back_days=0,
        flood_band="0..0.2",
    )
    assert full.environ == {
        "SNIFFER_ASSUME_ROLE": ROLE,
        "SNIFFER_ASSUME_ROLE_EXTERNAL_ID": "4711",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "SNIFFER_REQUESTER_PAYS": "yes",
        "SNIFFER_ERROR_BUDGET": "0",
        "SNIFFER_GONE_BUDGET": "0.5",
        "SNIFFER_UNREADABLE_BUDGET": "1",
        "SNIFFER_SHARD_KEYS": "500000",
    }
    assert (full.schedule, full.connection) == ("30 3 * * *", "aws_partner")
    assert full.form == {"limit": 1000, "consumers": 3}
    assert (full.at_a_time, full.late_after) == (3, timedelta(hours=2))


@pytest.mark.parametrize(
    ("schedule", "prefix", "grows"),
    [
        ("0 */6 * * *", "{{ ds }}/", True),
        ("0 0,12 * * *", "{{ ds }}/", True),
        ("30 3 * * *", "{{ ds }}/", False),
        ("0 */6 * * *", "", False),
    ],
)
def test_a_dated_prefix_may_be_scanned_several_times_a_day(schedule: str, prefix: str, grows: bool) -> None:
    [source] = table_of(GOOD | {"schedule": schedule, "prefix": prefix}).sources
    assert source.grows is grows
    assert ("the first one after midnight all of it" in str(_dag_of(source, "").doc_md)) is grows


def test_a_url_is_bucket_and_prefix() -> None:
    [source] = table_of({"name": "a", "bucket": "s3://pics/in/"}).sources
    assert (source.nightly.bucket, source.nightly.prefix) == ("pics", "in/")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bucket": "s3:/pics"}, "bucket in the source wrong in t.yaml must be a bucket name"),
        ({"bucket": None}, "bucket of the source wrong in t.yaml is missing"),
        ({"bucket": "s3://pics/a/", "prefix": "b/"}, "bucket and prefix of the source wrong .* two prefixes"),
        ({"prefix": "{{ tomorrow }}/"}, "prefix in the source wrong in t.yaml must be a prefix"),
        ({"schedule": "daily"}, "schedule in the source wrong in t.yaml must be a cron expression such as"),
        ({"schedule": "* * * * *"}, "schedule in the source wrong .*at most hourly"),
        ({"schedule": "0 25 * * *"}, "schedule in the source wrong"),
        ({"schedule": "0 0 * * 1", "prefix": "{{ ds }}/"}, "schedule of the source wrong .* must be daily"),
        ({"connection": "a b"}, "connection in the source wrong in t.yaml must be a name of an Airflow Connection"),
        ({"role": "reads-images"}, "role in the source wrong in t.yaml must be a role such as arn:"),
        ({"external_id": "1"}, "external_id of the source wrong in t.yaml belongs to a role"),
        ({"region": "Ireland"}, "region in the source wrong in t.yaml must be a region"),
        ({"requester_pays": "yes"}, "requester_pays in the source wrong in t.yaml must be true or false"),
        ({"include": ".jpg"}, "include in the source wrong in t.yaml must be a list"),
        ({"exclude": [1]}, "exclude in the source wrong in t.yaml must be a list"),
        ({"allow_empty": "perhaps"}, "allow_empty in the source wrong in t.yaml must be one of"),
        ({"limit": 0}, "limit in the source wrong in t.yaml must be a whole number from 1"),
        ({"consumers": 257}, "consumers in the source wrong in t.yaml must be a whole number from 1 to 256"),
        ({"look_back_days": 32}, "look_back_days in the source wrong in t.yaml must be a whole number from 0 to 31"),
        ({"error_budget": 2}, "error_budget in the source wrong in t.yaml must be a number from 0 to 1"),
        ({"gone_budget": "a"}, "gone_budget in the source wrong in t.yaml must be a number"),
        ({"unreadable_budget": -1}, "unreadable_budget in the source wrong in t.yaml must be a number"),
        ({"shard_keys": "many"}, "shard_keys in the source wrong in t.yaml must be a whole number from 1"),
        ({"inventory": "reports"}, "inventory in the source wrong in t.yaml must be a report of S3 Inventory: s3://"),
        ({"inventory": "s3://r/a/x.csv"}, "inventory in the source wrong in t.yaml must be a report"),
        ({"inventory": "s3://rep/a/", "shards": 1}, "inventory of the source wrong in t.yaml says where to cut"),
        ({"at_a_time": 0}, "at_a_time in the source wrong in t.yaml must be a whole number from 1 to 64"),
        ({"late_after_hours": 200}, "late_after_hours in the source wrong in t.yaml must be a whole number"),
        ({"buckets": "x"}, "the source wrong in t.yaml has no field buckets .did you mean bucket"),
    ],
)
def test_a_wrong_source_stops_itself_alone_and_names_the_field(change: dict[str, Any], message: str) -> None:
    wrong = {"name": "wrong", "bucket": "pics"} | change
    table = table_of(GOOD, wrong, {"name": "other", "bucket": "pics"})
    assert [source.name for source in table.sources] == ["good", "other"]
    with pytest.raises(SettingsError, match=message):
        table.source_of("scan_wrong")
    assert table.source_of("scan_good").nightly.bucket == "pics"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("pics", "source 2 in t.yaml must be an object"),
        ({"bucket": "pics"}, "source 2 in t.yaml has no name"),
        ({"name": 7, "bucket": "pics"}, "name of source 2 in t.yaml must be a text"),
        ({"name": "My pics", "bucket": "pics"}, "name of source 2 in t.yaml must be of a to z.*'My pics'"),
        ({"name": "a" * 41, "bucket": "pics"}, "name of source 2 in t.yaml"),
        ({"name": "bucket", "bucket": "pics"}, "not one of bucket, sources, summary"),
    ],
)
def test_a_source_without_a_usable_name_is_told_by_its_place(source: Any, message: str) -> None:
    table = table_of(GOOD, source)
    assert [each.name for each in table.sources] == ["good"]
    [wrong] = table.wrong
    assert wrong.name == ""
    with pytest.raises(SettingsError, match=message):
        raise SettingsError(wrong.problem)


def test_of_two_sources_of_one_name_none_is_scanned() -> None:
    table = table_of(GOOD, {"name": "twin", "bucket": "a"}, {"name": "twin", "bucket": "b"})
    assert [each.name for each in table.sources] == ["good"]
    assert [each.name for each in table.wrong] == ["twin"]
    assert "2 sources are called twin" in table.wrong[0].problem


def test_pods_have_the_credentials_of_their_service_account() -> None:
    [wrong] = table_of(GOOD, FULL, in_pods=True).wrong
    assert "connection of the source partner-eu in t.yaml: programs run as pods" in wrong.problem


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([GOOD], 't must be an object such as {"sources"'),
        ({}, "sources in t must be a list"),
        ({"sources": "pics"}, "sources in t must be a list"),
        ({"source": []}, "t has no field source"),
        ({"sources": [], "summary_schedule": "noon"}, "summary_schedule in t must be a cron"),
        ({"sources": [GOOD] * (MOST_SOURCES + 1)}, "must be at most 200, not 201"),
    ],
)
def test_what_is_no_table_is_refused(document: Any, message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_table(document, "t", in_pods=False)
    assert message in str(refused.value)


YAML = """
sources:
  - name: good
    bucket: pics
  - name: doubtful
    bucket: pics
    bucket: others
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "sources.yaml"
    path.write_text(YAML)
    monkeypatch.setenv("SNIFFER_SOURCES_FILE", str(path))
    return path


def test_a_file_is_yaml_or_json_and_a_field_that_is_there_twice_is_wrong(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = read_sources()
    assert [each.name for each in table.sources] == ["good"]
    assert table.wrong[0].problem == f"bucket is there more than once in the source doubtful in {file}"
    as_json = file.with_suffix(".json")
    as_json.write_text(
        '{"sources": [{"name": "good", "bucket": "pics"}, {"name": "doubtful", "limit": 1, "limit": 2}]}'
    )
    monkeypatch.setenv("SNIFFER_SOURCES_FILE", str(as_json))
    assert [each.name for each in read_sources().sources] == ["good"]
    with pytest.raises(SettingsError, match="limit is there more than once in the source doubtful"):
        read_sources().source_of("scan_doubtful")


def test_the_variable_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_sources() == SourceTable()
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_SOURCES", json.dumps({"sources": [GOOD]}))
    assert [each.name for each in read_sources().sources] == ["good"]
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_SOURCES", "{")
    with pytest.raises(SettingsError, match="the Variable sniffer_sources is not JSON"):
        read_sources()


def test_two_tables_are_one_too_many(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_SOURCES", json.dumps({"sources": [GOOD]}))
    with pytest.raises(SettingsError, match="two tables of sources: the file .*sources.yaml.*Variable sniffer_sources"):
        read_sources()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"sources: [", "sources.yaml is not YAML"),
        (b"sources: [{name: good, bucket: uploads, prefix: 2026-13-45}]", "sources.yaml is not YAML .month must be in"),
        (b"sources: !!timestamp tonight", "sources.yaml is not YAML"),
        (b"\xff\xfe", "cannot be read .SNIFFER_SOURCES_FILE."),
        (b"# " + b"x" * (1 << 20), "is larger than"),
        (None, "No such file"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_import_error_of_the_sources(
    file: Path, content: bytes | None, message: str
) -> None:
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=message):
        source_dags("")
    refuse_wrong_sources()  # said once


def test_a_variable_that_cannot_be_read_is_no_matter_where_there_is_a_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise PermissionError("secret-1")

    monkeypatch.setattr("airflow.sdk.Variable.get", fail)
    assert [each.name for each in sources_now().sources] == ["good"]
    monkeypatch.delenv("SNIFFER_SOURCES_FILE")
    with pytest.raises(SettingsError, match="sniffer_sources cannot be read at the moment: PermissionError$"):
        sources_now()
