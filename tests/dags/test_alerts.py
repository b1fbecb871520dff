"""Who is told of a failed and of a late run, by Airflow's own code: its scheduler's deadlines, and its callbacks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.alert_receivers import Webhook, receivers
from support.dag_runs import DAGS
from support.scheduled_runs import make_night, serialized_dag

DAY = datetime(2026, 10, 1, tzinfo=UTC)
END = DAY + timedelta(days=1)
SOURCE = {"name": "told", "bucket": "pics", "prefix": "users/4711/", "late_after_hours": 3}


@pytest.fixture
def bag(airflow_database: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The DAG of one source, parsed and known to the scheduler, without runs."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    table = tmp_path / "sources.json"
    table.write_text(json.dumps({"sources": [SOURCE]}))
    monkeypatch.setenv("SNIFFER_SOURCES_FILE", str(table))
    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    bag = DagBag(DAGS / "scan_sources.py")
    sync_bag_to_db(bag, "dags-folder", None)
    forget()
    yield bag
    forget()


def forget() -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    with create_session() as session:
        for run in session.query(DagRun).where(DagRun.dag_id == "scan_told"):
            session.delete(run)


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    with receivers(monkeypatch) as (webhook, _):
        yield webhook


def deadlines() -> dict[str, datetime]:
    from airflow.models.deadline import Deadline
    from airflow.utils.session import create_session

    with create_session() as session:
        return {each.dagrun.run_id: each.deadline_time for each in session.query(Deadline) if not each.missed}


def make_other(run_type: str) -> None:
    """A run by hand, or of a backfill, for a day that is long over."""
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    with create_session() as session:
        serialized_dag(session, "scan_told").create_dagrun(
            run_id=f"{run_type}__1",
            logical_date=DAY + timedelta(hours=1 if run_type == "manual" else 2),
            data_interval=(DAY, END),
            run_after=END,
            run_type=DagRunType(run_type),
            triggered_by=DagRunTriggeredByType.TEST,
            state=DagRunState.RUNNING,
            start_date=END,
            session=session,
        )


def test_a_night_has_a_deadline_and_no_other_run(bag: Any) -> None:
    make_night("scan_told", DAY, "running")
    make_other("manual")
    make_other("backfill")
    assert deadlines() == {f"scheduled__{END.isoformat()}": END + timedelta(hours=3)}


def test_a_night_that_ends_well_in_time_has_none_any_more(bag: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow._shared.timezones import timezone
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    make_night("scan_told", DAY, "running")
    with create_session() as session:
        run = session.query(DagRun).where(DagRun.dag_id == "scan_told").one()
        run.dag = serialized_dag(session, "scan_told")
        for ti in run.get_task_instances(session=session):
            ti.state = "success"
        monkeypatch.setattr(timezone, "utcnow", lambda: END + timedelta(hours=1))
        run.update_state(session=session)
        assert run.state == "success"
    assert deadlines() == {}


def test_a_late_night_is_told_by_the_triggerer(bag: Any, webhook: Webhook) -> None:
    """As the scheduler and the triggerer do, but for the processes between them."""
    from airflow.models.deadline import Deadline
    from airflow.triggers.callback import CallbackTrigger
    from airflow.utils.session import create_session

    make_night("scan_told", DAY, "running")
    with create_session() as session:
        deadline = session.query(Deadline).one()
        deadline.handle_miss(session)
        session.flush()
        kwargs = json.loads(json.dumps(deadline.callback.data["kwargs"], default=str))
        path = deadline.callback.data["path"]

    async def run() -> list[str]:
        return [event.payload["state"] async for event in CallbackTrigger(path, kwargs).run()]

    assert [str(state) for state in asyncio.run(run())] == ["running", "success"]
    (document,) = webhook.documents()
    assert document["reason"] == "not finished 3 h after it was due: running"
    assert document["dag_id"] == "scan_told" and document["run_id"] == f"scheduled__{END.isoformat()}"
    assert document["bucket"] == "pics" and "4711" not in webhook.got[0].body.decode()
    assert document["url"].endswith("/dags/scan_told/runs/scheduled__2026-10-02T00%3A00%3A00%2B00%3A00")


def test_a_failed_run_is_told_by_the_dag_processor(bag: Any, webhook: Webhook) -> None:
    import structlog
    from airflow.dag_processing import processor
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    make_night("scan_told", DAY, "running")
    with create_session() as session:
        run = session.query(DagRun).where(DagRun.dag_id == "scan_told").one()
        tasks = {ti.task_id: ti for ti in run.get_task_instances(session=session)}
        request = run.produce_dag_callback(
            dag=serialized_dag(session, "scan_told"), success=False, relevant_ti=tasks["scan"], reason="task_failure"
        )
    assert request is not None
    processor._execute_dag_callbacks(bag, request, structlog.get_logger())
    (document,) = webhook.documents()
    assert document["reason"] == "a task has failed, scan was the last" and document["bucket"] == "pics"


def test_every_dag_tells_of_its_failures_and_each_scan_of_its_lateness(bag: Any) -> None:
    from airflow.dag_processing.dagbag import DagBag

    dags = {**DagBag(DAGS).dags, **bag.dags}
    assert [name for name, dag in dags.items() if not dag.on_failure_callback] == []
    assert {name for name, dag in dags.items() if dag.deadline} == {"scan_bucket", "scan_told"}


def test_a_dag_that_is_parsed_again_is_the_same_version(bag: Any) -> None:
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dag_version import DagVersion
    from airflow.utils.session import create_session

    make_night("scan_told", DAY, "running")
    for _ in range(2):
        sync_bag_to_db(DagBag(DAGS / "scan_sources.py"), "dags-folder", None)
    with create_session() as session:
        assert session.query(DagVersion).where(DagVersion.dag_id == "scan_told").count() == 1
