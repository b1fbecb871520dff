"""DAGs whose result may become the stable model take no backfill: of a run that one replaces nobody is recorded."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

DAGS = Path(__file__).parents[2] / "dags"
FIRST, LAST = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 10, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def _known_dags(airflow_database: None) -> None:
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    sync_bag_to_db(DagBag(DAGS), "dags-folder", None)


@pytest.mark.usefixtures("_known_dags")
@pytest.mark.parametrize(
    "dag_id", ["publish_labels", "watch_labels", "retrain_model", "export_model", "rollout_serving"]
)
def test_a_backfill_is_refused_whatever_it_would_replace(dag_id: str) -> None:
    from airflow.exceptions import DagRunTypeNotAllowed
    from airflow.models.backfill import Backfill, DagNonPeriodicScheduleException, ReprocessBehavior, _create_backfill
    from airflow.utils.session import create_session

    with pytest.raises((DagRunTypeNotAllowed, DagNonPeriodicScheduleException)):
        _create_backfill(
            dag_id=dag_id,
            from_date=FIRST,
            to_date=LAST,
            max_active_runs=1,
            reverse=False,
            dag_run_conf={},
            triggering_user_name="mallory",
            reprocess_behavior=ReprocessBehavior.COMPLETED,
        )
    with create_session() as session:
        assert session.query(Backfill).where(Backfill.dag_id == dag_id).count() == 0


@pytest.mark.usefixtures("_known_dags")
@pytest.mark.parametrize("dag_id", ["watch_labels", "retrain_model"])
def test_every_other_way_to_start_it_stays_open(dag_id: str) -> None:
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunType

    with create_session() as session:
        dag = session.get(DagModel, dag_id)
        assert dag is not None and dag.allowed_run_types is not None
        assert set(dag.allowed_run_types) == {kind.value for kind in DagRunType} - {DagRunType.BACKFILL_JOB.value}
