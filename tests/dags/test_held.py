"""A held scan in Airflow: its task fails for good, a person decides under Required Actions, and is recorded."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.airflow_people import Person, meanwhile
from support.dag_runs import connection_of, without_deadline
from support.ended_scans import certificate_of
from support.stored_rows import model, predicted, record, rows

from sniffer.adapters.mysql.database import Database
from sniffer.core.records import ScanRequest
from sniffer_airflow.names import dag_run_text

DAG = "scan_bucket"
NOW = datetime(2026, 11, 22, 17, 30, tzinfo=UTC)
WHY = "90 of 200 scored images are flagged (45.00%), above the expected 0.00% to 3.00%"
REFUSED = "without-permission"
"""A scan of that bucket by the stand-in ends with exit status 2, as one of a held scan does."""


@pytest.fixture
def run(
    airflow_database: None, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[datetime], dict[str, str]]:
    """Run the DAG at that time; returns the states of its tasks. A scan of it is held, as its program has left it."""
    from airflow.dag_processing.dagbag import DagBag

    dag = DagBag(Path(__file__).parents[2] / "dags").dags[DAG]
    monkeypatch.setenv("AIRFLOW_CONN_SNIFFER_SERVING", "http://127.0.0.1:8501")
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", connection_of(database_url))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "programs"))
    database.models.register(model(1))
    database.models.promote(1)

    def run(at: datetime) -> dict[str, str]:
        dag_run = without_deadline(dag).test(logical_date=at, run_after=at, run_conf={"bucket": REFUSED})
        return {task.task_id: str(task.state) for task in dag_run.get_task_instances()} | {"run": str(dag_run.state)}

    return run


def hold(database: Database, at: datetime) -> None:
    request = ScanRequest("night", REFUSED, dag_run=dag_run_text(DAG, f"manual__{at.isoformat()}"))
    token = database.scans.open(request, 1, 0.5)
    record(database, [predicted("a", 0.9), predicted("b", 0.9)], token=token)
    database.scans.close(certificate_of({}, scan_id="night", run_number=token.run_number, held=WHY))


def decisions(database_url: str) -> list[tuple[Any, ...]]:
    return rows(database_url, "SELECT decision, decided_by, reason, results FROM hold_decisions ORDER BY number")[1:]


def test_somebody_else_releases_it_with_a_reason(
    run: Callable[[datetime], dict[str, str]],
    database: Database,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SNIFFER_FOUR_EYES", "yes")
    hold(database, NOW)
    asker, ben = Person("dag_test"), Person("ben")

    def people() -> None:
        question = asker.question(DAG)
        assert "90 of 200 scored images are flagged" in question["body"] and "night" in question["body"]
        assert "Anybody but dag\\_test may release it" in question["body"]
        asker.answer(question, "Release", "I know")
        ben.answer(ben.question(DAG), "Release")
        ben.answer(ben.question(DAG), "Release", "looked at all of them")

    with meanwhile(people):
        states = run(NOW)
    assert (states["scan"], states["certify"], states["decide_held"]) == ("failed", "upstream_failed", "success")
    assert states["run"] == "failed", "only the scan, once it is cleared, makes it a good one"
    assert decisions(database_url) == [("released", "ben", "looked at all of them", None)]
    assert rows(database_url, "SELECT COUNT(*) FROM flagged_images") == [(2,)]


def test_whoever_started_it_may_discard_it(
    run: Callable[[datetime], dict[str, str]],
    database: Database,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SNIFFER_FOUR_EYES", "yes")
    at = NOW + timedelta(minutes=1)
    hold(database, at)
    asker = Person("dag_test")
    with meanwhile(lambda: asker.answer(asker.question(DAG), "Discard", "the server was broken")):
        states = run(at)
    assert states["decide_held"] == "success"
    why = ("dag_test", "the server was broken")
    assert decisions(database_url) == [("discarded", *why, None), ("discarded", *why, 2)]
    assert rows(database_url, "SELECT COUNT(*) FROM predictions") == [(0,)]


def test_nobody_is_asked_about_a_scan_that_failed_otherwise(run: Callable[[datetime], dict[str, str]]) -> None:
    states = run(NOW + timedelta(minutes=2))
    assert (states["scan"], states["decide_held"], states["run"]) == ("failed", "skipped", "failed")
