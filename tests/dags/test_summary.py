"""The nightly summary by Airflow's own runs and MySQL's own rows: one source in each state."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.dag_runs import DAGS, connection_of
from support.ended_scans import certificate_of

from sniffer.adapters.mysql.database import Database
from sniffer.core.model_records import ModelRecord, ModelStatus
from sniffer.core.records import Outcome, ScanRequest
from sniffer.core.settings import DatabaseSettings
from sniffer_airflow.names import name_of_run
from sniffer_airflow.scan.plan import scan_id_of
from sniffer_airflow.scan.summary import Expected, due_runs

RUNS = {"fine": "success", "broken": "failed", "slow": "running", "quick": "running", "unproven": "success"}
"""Airflow's state of the night's run of each source that has one."""


@pytest.fixture
def nights(
    airflow_database: None, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[datetime]:
    """A morning: the night's runs in Airflow, their scans in MySQL; yields its time."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunType

    now = datetime.now(UTC)
    schedule = f"0 {(now.hour - 2) % 24} * * *"
    sources = [
        {"name": name, "bucket": "pics", "schedule": schedule, "late_after_hours": 6 if name == "quick" else 1}
        for name in (*RUNS, "paused", "lost")
    ]
    table = tmp_path / "sources.json"
    table.write_text(json.dumps({"sources": [*sources, {"name": "wrong", "bucket": "pics", "limit": "all"}]}))
    monkeypatch.setenv("SNIFFER_SOURCES_FILE", str(table))
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", connection_of(database_url))
    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    sync_bag_to_db(DagBag(DAGS / "scan_sources.py"), "dags-folder", None)
    # Of the quick one, which may take longer, the night before counts as well: the last summary saw that running.
    before, tonight = due_runs(Expected("quick", "scan_quick", schedule, timedelta(hours=6)), now)
    with create_session() as session:
        for dag in session.query(DagModel):
            dag.is_paused = dag.dag_id == "scan_paused"
        for name, state in RUNS.items():
            for run_id in (before, tonight) if name == "quick" else (tonight,):
                at = datetime.fromisoformat(run_id.removeprefix("scheduled__"))
                session.add(
                    DagRun(
                        dag_id=f"scan_{name}",
                        run_id=run_id,
                        logical_date=at,
                        run_after=at,
                        run_type=DagRunType.SCHEDULED,
                        state=DagRunState("success" if run_id == before else state),
                    )
                )
    with Database(DatabaseSettings(database_url)) as database:
        database.migrate()
        database.models.register(ModelRecord(7, "a" * 64, "b" * 64, "1", 0.5, ModelStatus.CANDIDATE))
        for name, run_id, certificate in (
            ("fine", tonight, certificate_of({Outcome.PREDICTED: 9}, flagged_new=2)),
            ("quick", before, certificate_of({Outcome.PREDICTED: 9})),
            ("broken", tonight, certificate_of({Outcome.FAILED: 3}, problems=("3 of 3 images failed",))),
        ):
            scan_id = scan_id_of(name_of_run(f"scan_{name}", run_id), "pics", "")
            database.scans.open(ScanRequest(scan_id, "pics"), 7, 0.5)
            database.scans.close(dataclasses.replace(certificate, scan_id=scan_id, bucket="pics", model_version=7))
    yield now
    with create_session() as session:
        for run in session.query(DagRun).where(DagRun.dag_id.in_([f"scan_{name}" for name in RUNS])):
            session.delete(run)


def test_the_summary_tells_of_every_source_and_is_red_when_one_needs_somebody(nights: datetime) -> None:
    ended = summary(nights)
    assert ended["state"] == "failed"
    lines = {line["source"]: line for line in ended["told"]["sources"]}
    assert {name: line["state"] for name, line in lines.items()} == {
        "fine": "holds",
        "broken": "failed",
        "slow": "late",
        "quick": "running",
        "unproven": "failed",
        "paused": "missing",
        "lost": "missing",
        "wrong": "failed",
    }
    assert (lines["fine"]["listed"], lines["fine"]["flagged_new"]) == (9, 2)
    assert lines["fine"]["url"].startswith("/dags/scan_fine/runs/scheduled__20")
    assert "its DAG is paused" in lines["paused"]["detail"]
    assert "3 of 3 images failed" in lines["broken"]["detail"]
    assert "MySQL has no scan" in lines["unproven"]["detail"]
    assert "limit in the source wrong" in lines["wrong"]["detail"]
    assert ended["told"]["text"].splitlines()[-1].startswith("fine: holds, 9 listed, 2 newly flagged")


def test_where_nothing_is_scheduled_there_is_nothing_to_tell(airflow_database: None) -> None:
    assert summary(datetime.now(UTC)) == {"state": "success", "told": {"text": "", "sources": []}}


def test_a_wrong_variable_of_alerts_is_told_besides(airflow_database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_ALERTS", '{"mail": ["oncall@example.com"]}')
    assert summary(datetime.now(UTC)) == {"state": "failed", "told": {"text": "", "sources": []}}


def test_a_table_that_cannot_be_read_is_told(
    airflow_database: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNIFFER_SOURCES_FILE", str(tmp_path / "none.yaml"))
    ended = summary(datetime.now(UTC))
    assert ended["state"] == "failed" and "cannot be read" in ended["told"]["text"]


def summary(at: datetime) -> dict[str, Any]:
    """Make one; its state, and what it tells."""
    from airflow.dag_processing.dagbag import DagBag

    run = DagBag(DAGS / "scan_summary.py").dags["scan_summary"].test(run_after=at, logical_date=None)
    [task] = run.get_task_instances()
    return {"state": str(task.state), "told": task.xcom_pull(task_ids="summarize")}
