"""Sources by the real Airflow: a DAG for each, runs with a source's own target and credentials, a wrong one alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.dag_runs import DAGS, PROGRAMS, without_deadline

from sniffer_airflow.names import name_of_run
from sniffer_airflow.pools import BACKFILL_POOL, SCAN_POOL
from sniffer_airflow.scan.plan import scan_id_of

ROLE = "arn:aws:iam::111122223333:role/reads-images"
UPLOADS = {"name": "uploads", "bucket": "pics", "prefix": "in/{{ ds }}/", "schedule": "30 3 * * *", "at_a_time": 1}
PARTNER = {
    "name": "partner",
    "bucket": "s3://theirs/photos/",
    "connection": "aws_partner",
    "role": ROLE,
    "region": "eu-west-1",
    "requester_pays": True,
    "exclude": [".html"],
    "limit": 5,
    "consumers": 2,
    "error_budget": 0.05,
}
WRONG = {"name": "broken", "bucket": "pics", "schedule": "now and then"}
NAMELESS = {"bucket": "pics"}
SHOWN = (
    "AWS_ACCESS_KEY_ID",
    "AWS_REGION",
    "SNIFFER_ASSUME_ROLE",
    "SNIFFER_REQUESTER_PAYS",
    "SNIFFER_ERROR_BUDGET",
)

Parse = Callable[..., Any]


@pytest.fixture
def parse(airflow_database: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parse:
    """Write the table down, and parse a DAG file as Airflow does."""
    from airflow.dag_processing.dagbag import DagBag

    table = tmp_path / "sources.yaml"
    monkeypatch.setenv("SNIFFER_SOURCES_FILE", str(table))

    def parse(*sources: Mapping[str, Any], file: str = "scan_sources") -> Any:
        table.write_text(json.dumps({"sources": sources}))
        return DagBag(DAGS / f"{file}.py")

    return parse


def test_each_source_has_a_dag_over_the_same_graph(parse: Parse) -> None:
    bag = parse(UPLOADS, PARTNER)
    assert bag.import_errors == {}
    uploads, partner = bag.dags["scan_uploads"], bag.dags["scan_partner"]
    assert set(bag.dags) == {"scan_uploads", "scan_partner"}
    tasks = {"plan", "shards", "scan", "scan_backfill", "certify", "decide_held"}
    assert {task.task_id for task in uploads.tasks} == tasks
    assert (uploads.timetable.summary, partner.timetable.summary) == ("30 3 * * *", "0 0 * * *")
    assert {name: partner.params[name] for name in ("limit", "consumers", "include")} == {
        "limit": 5,
        "consumers": 2,
        "include": None,
    }
    assert not {"bucket", "prefix"} & set(partner.params)
    for dag, at_a_time in ((uploads, 1), (partner, 2)):
        nightly, backfill = dag.get_task("scan"), dag.get_task("scan_backfill")
        assert (nightly.pool, backfill.pool) == (SCAN_POOL, BACKFILL_POOL)
        assert nightly.priority_weight > backfill.priority_weight
        assert nightly.max_active_tis_per_dag == backfill.max_active_tis_per_dag == at_a_time
        assert len(dag.doc_md) > 500 and "source" in dag.tags and 40 <= len(dag.description) <= 200
        assert not [line for line in dag.doc_md.splitlines() if line.startswith("    ") and len(line) > 76]


def test_a_task_makes_its_own_dag_alone(parse: Parse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "scan_partner")  # as Airflow's worker does
    assert set(parse(UPLOADS, WRONG, PARTNER).dags) == {"scan_partner"}


def test_a_schedule_survives_airflow_s_database(parse: Parse) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    read = DagSerialization.from_dict(DagSerialization.to_dict(parse(UPLOADS).dags["scan_uploads"]))
    assert read.timetable.summary == "30 3 * * *"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Run a DAG; the states and the results of its tasks."""
    mysql = {"conn_type": "mysql", "host": "127.0.0.1", "port": 1, "login": "u", "password": "secret-1", "schema": "s"}
    monkeypatch.setenv("AIRFLOW_CONN_SNIFFER_SERVING", "http://127.0.0.1:8501")
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", json.dumps(mysql))
    monkeypatch.setenv("AIRFLOW_CONN_AWS_PARTNER", "aws://partner:secret-2@")
    monkeypatch.setenv("PYTHONPATH", str(PROGRAMS))
    monkeypatch.setenv("STAND_IN_SHOWS", ",".join(SHOWN))

    def run(dag: Any, **form: Any) -> dict[str, Any]:
        at = datetime(2026, 11, 22, 13, 30, tzinfo=UTC)
        dag_run = without_deadline(dag).test(logical_date=at, run_after=at, run_conf=form)
        tasks = {task.task_id: task for task in dag_run.get_task_instances()}
        return {
            "run_id": dag_run.run_id,
            "states": {name: str(task.state) for name, task in tasks.items()},
            "scan": tasks["scan"].xcom_pull(task_ids="scan", map_indexes=0),
        }

    return run


def test_a_source_is_scanned_as_its_own_with_its_own_credentials(
    parse: Parse, run: Callable[..., dict[str, Any]]
) -> None:
    ended = run(parse(UPLOADS, PARTNER).dags["scan_partner"], dry_run=True)
    assert ended["states"] == {
        "plan": "success",
        "shards": "success",
        "scan": "success",
        "scan_backfill": "skipped",
        "certify": "skipped",
        "decide_held": "skipped",
    }
    scan = ended["scan"]
    assert (scan["bucket"], scan["prefix"], scan["exclude"]) == ("theirs", "photos/", [".html"])
    assert (scan["limit"], scan["consumers"]) == ("5", "2")
    assert scan["scan_id"] == scan_id_of(name_of_run("scan_partner", ended["run_id"]), "theirs", "photos/")
    assert scan["dag_run"] == f"scan_partner/{ended['run_id']}"
    assert scan["shown"] == {
        "AWS_ACCESS_KEY_ID": "partner",
        "AWS_REGION": "eu-west-1",
        "SNIFFER_ASSUME_ROLE": ROLE,
        "SNIFFER_REQUESTER_PAYS": "yes",
        "SNIFFER_ERROR_BUDGET": "0.05",
    }


def test_a_wrong_source_stops_itself_alone(
    parse: Parse, run: Callable[..., dict[str, Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    bag = parse(UPLOADS, WRONG, NAMELESS, PARTNER)
    assert bag.import_errors == {}
    assert set(bag.dags) == {"scan_uploads", "scan_partner", "scan_broken"}
    ended = run(bag.dags["scan_broken"])
    assert ended["states"].pop("plan") == "failed"
    assert ended["states"].pop("decide_held") == "skipped"
    assert set(ended["states"].values()) == {"upstream_failed"}
    assert "AirflowFailException: schedule in the source broken in" in "".join(capfd.readouterr())
    assert run(bag.dags["scan_uploads"], dry_run=True)["states"]["scan"] == "success"


def test_a_source_scans_no_other_bucket(
    parse: Parse, run: Callable[..., dict[str, Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    ended = run(parse(UPLOADS).dags["scan_uploads"], bucket="theirs")
    assert ended["states"].pop("plan") == "failed" and ended["states"].pop("decide_held") == "skipped"
    assert set(ended["states"].values()) == {"upstream_failed"}
    assert "AirflowFailException: the form of scan_uploads has no field bucket" in "".join(capfd.readouterr())


def test_airflow_shows_at_once_what_is_wrong_without_stopping_the_rest(parse: Parse) -> None:
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dag import DagModel
    from airflow.models.errors import ParseImportError
    from airflow.utils.session import create_session

    parse(UPLOADS, WRONG, NAMELESS)
    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    sync_bag_to_db(DagBag(DAGS), "dags-folder", None)
    with create_session() as session:
        errors = {Path(str(each.filename)).name: str(each.stacktrace) for each in session.query(ParseImportError)}
        stopped = {dag.dag_id for dag in session.query(DagModel) if dag.has_import_errors}
        known = {dag.dag_id for dag in session.query(DagModel)}
        session.query(ParseImportError).delete()
    assert list(errors) == ["wrong_sources.py"]
    assert "schedule in the source broken in" in errors["wrong_sources.py"]
    assert "source 3 in" in errors["wrong_sources.py"] and "has no name" in errors["wrong_sources.py"]
    assert stopped == set() and {"scan_uploads", "scan_broken", "scan_bucket"} <= known


def test_a_table_that_cannot_be_read_is_an_import_error_and_scan_bucket_stays(parse: Parse, tmp_path: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag

    (tmp_path / "sources.yaml").write_text("sources: [")
    bag = DagBag(DAGS)
    assert "scan_bucket" in bag.dags
    [(file, message)] = bag.import_errors.items()
    assert file.endswith("scan_sources.py") and "sources.yaml is not YAML" in message
