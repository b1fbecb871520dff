"""How sources share the fleet, by Airflow's own scheduler and pools."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.dag_runs import DAGS
from support.scheduled_runs import Scheduler, make_night

SOURCES = ("a", "b", "c")
DAG_IDS = [f"scan_{name}" for name in SOURCES]
DAY = timedelta(days=1)
FIRST = datetime(2026, 10, 1, tzinfo=UTC)


@pytest.fixture
def scheduler(airflow_database: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scheduler]:
    """An Airflow with three sources, unpaused, and no runs of theirs."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    table = tmp_path / "sources.json"
    table.write_text(json.dumps({"sources": [{"name": name, "bucket": "pics", "at_a_time": 3} for name in SOURCES]}))
    monkeypatch.setenv("SNIFFER_SOURCES_FILE", str(table))
    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    sync_bag_to_db(DagBag(DAGS / "scan_sources.py"), "dags-folder", None)
    forget_runs()
    with create_session() as session:
        for dag in session.query(DagModel):
            dag.is_paused = dag.dag_id not in DAG_IDS
    yield Scheduler()
    forget_runs()


def forget_runs() -> None:
    from airflow.models.backfill import Backfill, BackfillDagRun
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    with create_session() as session:
        session.query(BackfillDagRun).delete()
        for run in session.query(DagRun):
            session.delete(run)
        session.flush()
        session.query(Backfill).delete()


def backfill(dag_id: str, days: int) -> None:
    """What `airflow backfill create` does."""
    from airflow.models.backfill import ReprocessBehavior, _create_backfill

    _create_backfill(
        dag_id=dag_id,
        from_date=FIRST,
        to_date=FIRST + days * DAY,
        max_active_runs=10,
        reverse=False,
        dag_run_conf={},
        triggering_user_name="tester",
        reprocess_behavior=ReprocessBehavior("none"),
    )


def test_no_night_of_any_source_waits_for_the_backfills_of_all(scheduler: Scheduler) -> None:
    for dag_id in DAG_IDS:
        backfill(dag_id, days=4)
    scheduler.turn()
    scheduler.end_plans(skip="scan")
    scheduler.turn()
    assert scheduler.queued()["scan_backfill"] == 2
    nights: list[Any] = [make_night(dag_id, FIRST + 30 * DAY, "queued") for dag_id in DAG_IDS]
    scheduler.turn()
    scheduler.end_plans(skip="scan_backfill", run_id=nights[0].run_id)
    scheduler.turn()
    assert scheduler.queued_by_dag("scan") == dict.fromkeys(DAG_IDS, 1)
    assert scheduler.queued()["scan_backfill"] == 2


def test_a_source_with_much_to_do_leaves_room_for_the_next(scheduler: Scheduler) -> None:
    for day in range(6):
        make_night("scan_a", FIRST + day * DAY, "queued")
    make_night("scan_b", FIRST + 6 * DAY, "queued")
    scheduler.turn()
    scheduler.end_plans(skip="scan_backfill")
    scheduler.turn()
    assert scheduler.queued_by_dag("scan") == {"scan_a": 3, "scan_b": 1}  # of the four slots
