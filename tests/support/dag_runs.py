"""DAGs run for real but for their programs, for which those of tests/dags/programs stand in."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

DAGS = Path(__file__).parents[2] / "dags"
TESTS = Path(__file__).parents[1]
PROGRAMS = TESTS / "dags" / "programs"


def stand_in(results: Mapping[str, Any], calls: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what the programs hand on, by name, and lets the caller change it; None: exit status 2.

    `calls` gets the name of each program that is run, a line each.
    """
    mysql = {"conn_type": "mysql", "host": "127.0.0.1", "port": 1, "login": "u", "password": "secret-1", "schema": "s"}
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", json.dumps(mysql))
    monkeypatch.setenv("AIRFLOW_CONN_SNIFFER_SERVING", "http://127.0.0.1:8501")
    monkeypatch.setenv("PYTHONPATH", f"{PROGRAMS}{os.pathsep}{TESTS}")
    monkeypatch.setenv("STAND_IN_CALLS", str(calls))

    def change(**changed: Any) -> None:
        found = {name: result for name, result in {**results, **changed}.items() if result is not None}
        monkeypatch.setenv("STAND_IN_RESULTS", json.dumps(found))

    change()
    return change


def connection_of(database_url: str) -> str:
    """The Airflow Connection to that database, as its environment variable holds it."""
    url = make_url(database_url)
    connection = {
        "conn_type": "mysql",
        "host": url.host,
        "port": url.port,
        "login": url.username,
        "password": url.password,
        "schema": url.database,
        "extra": dict(url.query),
    }
    return json.dumps(connection)


def without_deadline(dag: Any) -> Any:
    """The DAG as `DAG.test()` can run it: with a deadline Airflow 3.3.2 fails at the end of a good run, by itself.

    It looks the deadline up by an id that only a DAG in its database has.
    """
    dag.deadline = None
    return dag


def run(dag_id: str, *, marked_as_success: str | None = None, **form: Any) -> dict[str, Any]:
    """Run the DAG; the states and the results of its tasks, and the run's id.

    The task `marked_as_success` does not run: it is as if somebody had marked it in the UI.
    """
    from airflow.dag_processing.dagbag import DagBag

    dag_run = without_deadline(DagBag(DAGS).dags[dag_id]).test(run_conf=form, mark_success_pattern=marked_as_success)
    states = {task.task_id: str(task.state) for task in dag_run.get_task_instances()}
    found = {name: dag_run.get_task_instance(name).xcom_pull(task_ids=name) for name in states}
    return {"run": str(dag_run.state), "run_id": dag_run.run_id, "states": states, "results": found}


def create_event(asset: str, extra: dict[str, Any]) -> None:
    """An event of the Asset that no task emitted, as the button in Airflow's UI makes it."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        model = session.scalars(select(AssetModel).where(AssetModel.name == asset)).one()
        session.add(AssetEvent(asset_id=model.id, extra=extra))


def events(asset: str) -> list[dict[str, Any]]:
    """What the Asset's events so far carried, oldest first."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        query = select(AssetEvent.extra).join(AssetModel, AssetModel.id == AssetEvent.asset_id)
        return list(session.scalars(query.where(AssetModel.name == asset).order_by(AssetEvent.id)))
