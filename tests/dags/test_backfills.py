"""Backfills of scan_bucket by Airflow's own code: which runs it makes, and which of them its scheduler starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from support.scheduled_runs import Scheduler, make_night, serialized_dag

from sniffer_airflow.names import name_of_run
from sniffer_airflow.scan.plan import scan_id_of

DAGS = Path(__file__).parents[2] / "dags"
DAG_ID = "scan_bucket"
FIRST, LAST = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 10, 3, tzinfo=UTC)
DAYS = [FIRST, FIRST + timedelta(days=1), LAST]

Backfill = Callable[..., list[Any]]


@pytest.fixture
def airflow(airflow_database: None) -> Iterator[None]:
    """An Airflow that knows the DAG, unpaused, and has no run of it."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    sync_bag_to_db(DagBag(DAGS), "dags-folder", None)
    _forget_runs()
    with create_session() as session:
        for dag in session.query(DagModel):
            dag.is_paused = dag.dag_id != DAG_ID
    yield
    _forget_runs()


def _forget_runs() -> None:
    from airflow.models.backfill import Backfill, BackfillDagRun
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    with create_session() as session:
        session.query(BackfillDagRun).delete()
        for run in session.query(DagRun).where(DagRun.dag_id == DAG_ID):
            session.delete(run)
        session.flush()
        session.query(Backfill).delete()


@pytest.fixture
def backfill(airflow: None) -> Backfill:
    """What `airflow backfill create` and the UI do; returns the runs that it made, by day, and ends the backfill."""
    from airflow.models.backfill import Backfill, BackfillDagRun, ReprocessBehavior, _create_backfill
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    def make(
        first: datetime = FIRST,
        last: datetime = LAST,
        conf: Mapping[str, str] | None = None,
        reprocess: str = "none",
        backwards: bool = False,
    ) -> list[Any]:
        made = _create_backfill(
            dag_id=DAG_ID,
            from_date=first,
            to_date=last,
            max_active_runs=10,
            reverse=backwards,
            dag_run_conf=dict(conf or {}),
            triggering_user_name="tester",
            reprocess_behavior=ReprocessBehavior(reprocess),
        )
        with create_session() as session:
            session.query(Backfill).update({"completed_at": datetime.now(UTC)})
            query = session.query(BackfillDagRun).where(BackfillDagRun.backfill_id == made.id)
            ordered = query.order_by(BackfillDagRun.sort_ordinal).all()
            assert [row.exception_reason for row in ordered if row.exception_reason] == []
            runs = [session.get(DagRun, row.dag_run_id) for row in ordered]
            session.expunge_all()
        return runs

    return make


def intervals(runs: list[Any]) -> list[tuple[datetime, datetime]]:
    return [(run.data_interval_start, run.data_interval_end) for run in runs]


WHOLE_DAYS = [(day, day + timedelta(days=1)) for day in DAYS]


def test_a_second_bucket_has_runs_of_its_own_for_days_that_have_nights(backfill: Backfill) -> None:
    nights = [make_night(DAG_ID, day, state) for day, state in zip(DAYS, ("success", "failed", "success"), strict=True)]
    first = backfill(conf={"bucket": "first"})
    second = backfill(conf={"bucket": "s3://second/{{ ds }}/"})
    assert intervals(first) == intervals(second) == WHOLE_DAYS
    assert {run.conf["bucket"] for run in second} == {"s3://second/{{ ds }}/"}
    assert [read_run(night.run_id).state for night in nights] == ["success", "failed", "success"]
    names = [name_of_run(DAG_ID, run.run_id) for run in (*nights, *first, *second)]
    assert len({scan_id_of(name, "b", "") for name in names}) == 9


@pytest.mark.parametrize("reprocess", ["none", "failed", "completed"])
def test_the_same_command_again_takes_up_what_a_cancelled_backfill_left(backfill: Backfill, reprocess: str) -> None:
    cancelled = backfill(conf={"bucket": "pics"})
    set_states({run.run_id: state for run, state in zip(cancelled, ("success", "failed", "failed"), strict=True)})
    again = backfill(conf={"bucket": "pics"}, reprocess=reprocess)
    assert intervals(again) == WHOLE_DAYS
    assert [read_run(run.run_id).state for run in cancelled] == ["success", "failed", "failed"]


def test_days_are_those_that_were_typed_in_whatever_zone(backfill: Backfill) -> None:
    berlin, sydney = timezone(timedelta(hours=1)), timezone(timedelta(hours=11))
    for zone in (berlin, sydney):
        typed = [datetime(2026, 10, day, tzinfo=zone) for day in (1, 3)]
        assert intervals(backfill(*typed)) == WHOLE_DAYS  # Airflow's default zone
        assert intervals(backfill(*(moment.astimezone(UTC) for moment in typed))) == WHOLE_DAYS  # the UI's zone
    assert intervals(backfill(FIRST, LAST.replace(hour=23, minute=59, second=59))) == WHOLE_DAYS
    assert intervals(backfill(FIRST, LAST, backwards=True)) == WHOLE_DAYS[::-1]


def test_a_day_that_is_not_over_is_left_to_its_night(backfill: Backfill) -> None:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    yesterday = today - timedelta(days=1)
    runs = backfill(yesterday, today)
    assert intervals(runs) == [(yesterday, today)]
    assert runs[0].run_after <= datetime.now(UTC)  # else it would wait


def test_nights_come_in_turn_whatever_was_backfilled(backfill: Backfill) -> None:
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    make_night(DAG_ID, today - timedelta(days=1))
    [run] = backfill(today - timedelta(days=1), today)
    with create_session() as session:
        model: Any = session.get(DagModel, DAG_ID)
        model.calculate_dagrun_date_fields(serialized_dag(session, DAG_ID), reference_run=read_run(run.run_id))
        assert (model.next_dagrun, model.next_dagrun_create_after) == (today, today + timedelta(days=1))


def test_no_night_waits_for_a_backfill(backfill: Backfill) -> None:
    runs = backfill(FIRST, FIRST + timedelta(days=29), conf={"bucket": "pics"})
    scheduler = Scheduler()
    scheduler.turn()
    scheduler.end_plans(skip="scan")
    scheduler.turn()
    assert scheduler.queued()["scan_backfill"] == 2
    night = make_night(DAG_ID, FIRST + timedelta(days=30), "queued")
    scheduler.turn()
    scheduler.end_plans(skip="scan_backfill", run_id=night.run_id)
    scheduler.turn()
    assert scheduler.queued()["scan_backfill"] == 2
    assert scheduler.queued()["scan"] == 1
    assert len(runs) == 30


def read_run(run_id: str) -> Any:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    with create_session() as session:
        run = session.query(DagRun).where(DagRun.run_id == run_id).one()
        session.expunge_all()
    return run


def set_states(states: Mapping[str, str]) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    with create_session() as session:
        for run in session.query(DagRun).where(DagRun.run_id.in_(states)):
            run.state = states[run.run_id]
