"""The pools of scans: made at Airflow's start, left alone afterwards, and used by every scan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sniffer_airflow.pools import BACKFILL_POOL, POOLS, SCAN_POOL, on_starting

DAGS = Path(__file__).parents[2] / "dags"


@pytest.fixture
def no_pools(airflow_database: None) -> None:
    """An Airflow of an older release."""
    from airflow.models.pool import Pool
    from airflow.utils.session import create_session

    with create_session() as session:
        session.query(Pool).where(Pool.pool.in_(POOLS)).delete()


def slots() -> dict[str, int]:
    from airflow.models.pool import Pool
    from airflow.utils.session import create_session

    with create_session() as session:
        return {str(pool.pool): pool.slots for pool in session.query(Pool).where(Pool.pool.in_(POOLS))}


def set_slots(name: str, number: int) -> None:
    from airflow.models.pool import Pool

    Pool.create_or_update_pool(name, number, "ours", False)


def test_a_scheduler_s_start_makes_what_is_missing_and_changes_nothing(no_pools: None) -> None:
    from airflow.jobs.job import Job

    on_starting(object())  # a task, which has no access to the database
    assert slots() == {}
    set_slots(SCAN_POOL, 40)
    Job()  # type: ignore[no-untyped-call]  # as each of Airflow's commands makes it: our plugin's listener is called
    assert slots() == {SCAN_POOL: 40, BACKFILL_POOL: 2}


def test_every_scan_runs_in_a_pool_and_a_backfill_in_another(airflow_database: None) -> None:
    from airflow.dag_processing.dagbag import DagBag

    dag: Any = DagBag(DAGS).dags["scan_bucket"]
    assert (dag.get_task("scan").pool, dag.get_task("scan_backfill").pool) == (SCAN_POOL, BACKFILL_POOL)
    assert dag.get_task("scan").priority_weight > dag.get_task("scan_backfill").priority_weight
