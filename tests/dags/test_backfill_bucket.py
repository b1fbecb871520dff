"""The DAG of a whole historical bucket: who is asked before it starts, and what is scanned in which order."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from airflow.sdk.exceptions import ParamValidationError
from support.airflow_people import Person, meanwhile, wait_for
from support.dag_runs import DAGS, connection_of, stand_in
from support.ended_scans import certificate_of
from support.estimates import ESTIMATE
from support.stored_rows import change, model, rows

from sniffer.adapters.mysql.database import Database
from sniffer.core.json_records import json_values
from sniffer.core.key_ranges import KeyRange
from sniffer.core.records import Outcome, ScanRequest
from sniffer_airflow.backfill.form import BackfillForm
from sniffer_airflow.names import name_of_run
from sniffer_airflow.scan.plan import scan_id_of

DAG = "backfill_bucket"
NOW = datetime(2026, 11, 26, 13, 30, tzinfo=UTC)
REPORTS = "s3://reports/pics/daily/"
DONE = ("plan", "cut", "estimate", "approve", "shards", "scan", "certify")
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(
    airflow_database: None, database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Run the DAG at that time with a plan of three shards, which has that estimate; states, results, programs."""
    from airflow.dag_processing.dagbag import DagBag

    dag = DagBag(DAGS).dags[DAG]
    database.models.register(model(1))
    ranges = [(KeyRange("", "c"), 3), (KeyRange("c", "k"), 3), (KeyRange("k"), 3)]

    def run(at: datetime, *, left: Sequence[int] = (3,), **form: Any) -> dict[str, Any]:
        scan_id = scan_id_of(name_of_run(DAG, f"manual__{at.isoformat()}"), "pics", "")
        database.shards.plan(ScanRequest(scan_id, "pics"), 1, 0.5, ranges)
        estimate = dataclasses.replace(ESTIMATE, scan_id=scan_id, bucket="pics")
        stored = json_values(database.estimates.store(estimate).estimate)
        database.scans.open(ScanRequest(f"{scan_id}-whole", "pics"), 1, 0.5)
        whole = certificate_of({Outcome.UNCHANGED: 9}, scan_id=f"{scan_id}-whole", bucket="pics")
        database.scans.close(whole)
        # As `sniffer certify` keeps it, which no stand-in does.
        text = json.dumps(whole.document() | {"scan_id": scan_id})
        change(database_url, f"UPDATE scans SET certificate = '{text}', state = 'complete' WHERE scan_id = '{scan_id}'")
        scans = [
            {"title": f"{shard} of 3", "words": ["--bucket=pics", f"--scan-id={shard}", f"--dag-run=shard {shard}"]}
            for shard in left
        ]
        calls = tmp_path / "calls"
        calls.unlink(missing_ok=True)
        stand_in({"estimate": stored, "recount": {"scans": scans}}, calls, monkeypatch)
        monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", connection_of(database_url))
        dag_run = dag.test(logical_date=at, run_after=at, run_conf={"bucket": "s3://pics", **form})
        tasks = dag_run.get_task_instances()
        return {
            "run": str(dag_run.state),
            "states": {task.task_id: str(task.state) for task in tasks},
            "estimate": stored,
            "plan": dag_run.get_task_instance("plan").xcom_pull(task_ids="plan"),
            "scans": {task.map_index: task.rendered_map_index for task in tasks if task.task_id == "scan"},
            "flags": [
                task.xcom_pull(task_ids="scan", map_indexes=task.map_index) for task in tasks if task.task_id == "scan"
            ],
        }

    return run


def test_within_the_limits_nobody_is_asked_and_shards_run_in_their_order(
    run: Run, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = {"as_of": "2026-01-02", "gpu_hour": 2}
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_RATES", json.dumps(rates))
    monkeypatch.setenv("SNIFFER_BACKFILL_IMAGES", "11")
    form = {"most_cost": 8, "most_images": 7, "order": "newest", "shards": 3, "growth": 0.5, "inventory": REPORTS}
    ended = run(NOW, **form, left=(3, 1))
    assert ended["states"] == {**dict.fromkeys(DONE, "success"), "decide_held": "skipped"}
    assert ended["scans"] == {0: "3 of 3", 1: "1 of 3"}
    assert [flags["scan_id"] for flags in ended["flags"]] == ["3", "1"]
    assert rows(database_url, "SELECT approved_by, approval_reason FROM estimates") == [
        (None, "within the limits of the form, and of the team")
    ]
    words = ended["plan"]["estimate_arguments"]
    assert "--growth=0.5" in words and "--at-a-time=2" in words
    assert any('"gpu_hour": 2.0' in word for word in words)
    assert ended["plan"]["shards_arguments"][-1] == "--order=newest"
    assert {"--bucket=pics", "--even-one", "--needs-approval", "--shards=3", f"--inventory={REPORTS}"} <= set(
        ended["plan"]["arguments"]
    )


@pytest.mark.parametrize(
    ("of_form", "of_team", "why"),
    [
        (1_000_000, "5", "up to 6.3 hours are above 5, the team's limit"),
        pytest.param(3.5, "7", "up to 4.0 hours are above 3.5", marks=pytest.mark.slow),  # the same by the form
    ],
)
def test_above_the_limit_of_form_or_team_somebody_else_approves_it(
    of_form: float, of_team: str, why: str, run: Run, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNIFFER_FOUR_EYES", "yes")
    monkeypatch.setenv("SNIFFER_BACKFILL_HOURS", of_team)
    asker, ben = Person("dag_test"), Person("ben")
    now = datetime.now(UTC)
    night = {"night_from": f"{now - timedelta(hours=1):%H:%M}", "night_until": f"{now + timedelta(hours=7):%H:%M}"}

    def people() -> None:
        question = asker.question(DAG)
        assert f"**Why you are asked:** {why}\n" in question["body"]
        assert "anybody but dag\\_test" in question["body"] and "1 GLACIER" in question["body"]
        assert "| nights | 1 to 1, of 8 hours each" in question["body"]
        assert "examples of 2026-11-26" in question["body"]
        asker.answer(question, "Approve", "I want it")
        ben.answer(ben.question(DAG), "Approve", "ticket 812")

    with meanwhile(people):
        ended = run(NOW + timedelta(minutes=1), most_hours=of_form, **night)
    assert ended["run"] == "success"
    [flags] = ended["flags"]
    assert timedelta(hours=6) < datetime.fromisoformat(flags["end_at"]) - now <= timedelta(hours=7)
    query = "SELECT approved_by, approval_reason, approved_at IS NOT NULL, digest FROM estimates"
    assert rows(database_url, query) == [("ben", "ticket 812", 1, ended["estimate"]["digest"])]


@pytest.mark.slow  # the same with another answer
def test_a_rejection_ends_the_run_and_nothing_is_scanned(run: Run, database_url: str) -> None:
    ben = Person("ben")
    with meanwhile(lambda: ben.answer(ben.question(DAG), "Reject", "too dear")):
        ended = run(NOW + timedelta(minutes=2))
    assert ended["run"] == "failed" and ended["states"]["approve"] == "failed"
    assert ended["states"]["scan"] == ended["states"]["shards"] == "upstream_failed"
    assert rows(database_url, "SELECT approved_at FROM estimates") == [(None,)]


@pytest.mark.parametrize(
    "form",
    [
        {"bucket": "s3:/pics"},
        {"bucket": "a"},
        {"prefix": "{{ tomorrow }}/"},
        {"most_images": -1},
        {"most_hours": -0.5},
        {"most_cost": -1},
        {"most_cost": "much"},
        {"growth": -0.1},
        {"growth": 1.5},
        {"night_from": "25:00"},
        {"night_from": "7:00"},
        {"night_until": "06:60"},
        {"time_zone": "Berlin"},
        {"time_zone": "../etc/passwd"},
        {"order": "random"},
        {"shards": 0},
        {"shards_at_a_time": 1001},
        {"inventory": "s3://reports/uploads/daily/2026.csv"},
        {"consumers": 257},
        {"flood_band": "1..0"},
    ],
)
def test_the_form_refuses_what_a_field_cannot_be(airflow_database: None, form: dict[str, Any]) -> None:
    from sniffer_airflow.backfill.form import backfill_params

    [(name, value)] = form.items()
    with pytest.raises(ParamValidationError):
        backfill_params()[name].resolve(value)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({}, "no bucket: enter its name in the field bucket of the form of backfill_bucket"),
        ({"bucket": "  "}, "no bucket"),
        (
            {"bucket": "pics", "inventory": "reports/"},
            "inventory in the form of backfill_bucket must be a report of S3",
        ),
        (
            {"bucket": "pics", "inventory": "s3://rep/a/", "shards": 1},
            "inventory in the form of backfill_bucket says where",
        ),
        ({"bucket": "pics", "night_from": "22:00"}, "night_until in the form of backfill_bucket is empty"),
        ({"bucket": "pics", "night_from": "22:00", "night_until": "22:00"}, "22:00 to 22:00 are no hours"),
        ({"bucket": "pics", "most_cost": float("nan")}, "most_cost in the form of backfill_bucket must be a number"),
        ({"bucket": "pics", "night_from": "25:00"}, "night_from in the form of backfill_bucket must be a time of"),
        ({"bucket": "pics", "most_cots": 5}, r"no field most_cots \(did you mean most_cost\?\)"),
    ],
)
def test_what_no_single_field_can_show_is_refused_by_name(form: dict[str, Any], message: str) -> None:
    from sniffer.core.errors import SettingsError

    with pytest.raises(SettingsError, match=message):
        BackfillForm.parse(form)


def test_hours_are_of_the_zone_that_was_given(airflow_database: None) -> None:
    form = BackfillForm.parse({"bucket": "pics", "night_from": "22:00", "night_until": "06:00"})
    assert form.hours == "22:00-06:00 UTC"
    zoned = BackfillForm.parse({**NIGHT, "time_zone": "America/New_York"})
    assert zoned.hours == "22:00-06:00 America/New_York"


NIGHT = {"bucket": "pics", "night_from": "22:00", "night_until": "06:00"}


@pytest.mark.slow  # as the others, in its hours
def test_outside_its_hours_no_shard_begins_and_the_run_can_be_ended(run: Run) -> None:
    now, at = datetime.now(UTC), NOW + timedelta(minutes=3)
    opens = now + timedelta(hours=3)
    seen: list[datetime] = []

    def end_it() -> None:
        ben = Person("ben")
        path = f"/dags/{DAG}/dagRuns/{quote(f'manual__{at.isoformat()}', safe='')}"
        waits = wait_for(lambda: _rescheduled(at), "a shard that waits")
        seen.append(waits)
        assert ben.call("PATCH", path, {"state": "failed"})["state"] == "failed"

    with meanwhile(end_it):
        ended = run(at, most_images=100, night_from=f"{opens:%H:%M}", night_until=f"{opens + timedelta(hours=1):%H:%M}")
    assert seen == [opens.replace(second=0, microsecond=0)]
    assert ended["states"]["shards"] == "success" and ended["flags"] == [None]
    assert (ended["states"]["scan"], ended["states"]["certify"]) == ("failed", "skipped")


def _rescheduled(at: datetime) -> datetime | None:
    """Until when a task of the run at that time waits."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.taskreschedule import TaskReschedule
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(TaskReschedule.reschedule_date).join(TaskInstance, TaskInstance.id == TaskReschedule.ti_id)
    with create_session() as session:
        found = session.scalar(query.where(TaskInstance.run_id == f"manual__{at.isoformat()}"))
        return None if found is None else datetime.fromisoformat(found.isoformat())
