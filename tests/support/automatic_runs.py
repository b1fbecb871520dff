"""Runs that nobody triggered: Airflow's own scheduler makes them of the events that wait for a DAG."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from support.dag_runs import DAGS, run


@contextmanager
def unpaused(dag_id: str) -> Iterator[None]:
    """The DAG is let run: from now on events of its Assets wait for the scheduler, and no others."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    sync_bag_to_db(DagBag(DAGS), "dags-folder", None)
    _pause_all_but(dag_id)
    yield
    _pause_all_but("")


def _pause_all_but(dag_id: str) -> None:
    from airflow.models.asset import AssetDagRunQueue
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    with create_session() as session:
        session.execute(delete(AssetDagRunQueue))
        for dag in session.query(DagModel):
            dag.is_paused = dag.dag_id != dag_id


def create_waiting_event(asset: str, extra: dict[str, Any]) -> None:
    """An event that no task emitted, as the button in Airflow's UI makes it, with all that Airflow does about it."""
    from airflow.assets.manager import asset_manager
    from airflow.models.asset import AssetModel
    from airflow.sdk import Asset
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        model = session.scalars(select(AssetModel).where(AssetModel.name == asset)).one()
        known: Any = Asset(name=model.name, uri=model.uri)
        asset_manager.register_asset_change(asset=known, extra=extra, session=session)


def run_by_events(dag_id: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Let the scheduler make the run that waits, and run it; as support.dag_runs.run returns it."""
    made = _made_by_the_scheduler(dag_id)
    with monkeypatch.context() as patched:
        patched.setattr("airflow.models.dagrun.get_or_create_dagrun", lambda **given: _begin(made, **given))
        return run(dag_id)


def run_of_nobody(dag_id: str, monkeypatch: pytest.MonkeyPatch, **form: Any) -> dict[str, Any]:
    """Run the DAG as a schedule does, which no user has triggered."""
    from airflow.models import dagrun

    make = dagrun.get_or_create_dagrun
    with monkeypatch.context() as patched:
        patched.setattr(dagrun, "get_or_create_dagrun", lambda **given: make(**{**given, "triggering_user_name": None}))
        return run(dag_id, **form)


def _made_by_the_scheduler(dag_id: str) -> str:
    """The id of the one run that Airflow's scheduler makes for the DAG now."""
    from airflow.executors.base_executor import BaseExecutor
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.sqlalchemy import prohibit_commit
    from sqlalchemy import select

    executor = BaseExecutor()
    job = Job()  # type: ignore[no-untyped-call]
    job.executor = executor
    runner = SchedulerJobRunner(job=job, executors=[executor])
    with create_session() as session:
        of_dag = select(DagRun.run_id).where(DagRun.dag_id == dag_id)
        before = set(session.scalars(of_dag))
        with prohibit_commit(session) as guard:  # type: ignore[no-untyped-call]
            runner._create_dagruns_for_dags(guard, session)
        [made] = set(session.scalars(of_dag)) - before
    return str(made)


def _begin(made: str, *, dag: Any, session: Any, **_: object) -> Any:
    """The run, begun: in the place of the manual one that DAG.test() would make."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.state import DagRunState
    from sqlalchemy import select

    found = session.scalars(select(DagRun).where(DagRun.dag_id == dag.dag_id, DagRun.run_id == made)).one()
    found.dag = dag
    found.state, found.start_date = DagRunState.RUNNING, datetime.now(UTC)
    session.commit()
    return found
