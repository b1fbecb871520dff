"""Runs as Airflow's scheduler makes them, and the scheduler itself, one turn at a time."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any


def serialized_dag(session: Any, dag_id: str) -> Any:
    """The DAG as the scheduler has it."""
    from airflow.models.serialized_dag import SerializedDagModel

    return session.scalar(SerializedDagModel.latest_item_select_object(dag_id)).dag  # type: ignore[no-untyped-call]


def make_night(dag_id: str, day: datetime, state: str = "success") -> Any:
    """The night's run for that day, as the scheduler makes it."""
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    with create_session() as session:
        dag = serialized_dag(session, dag_id)
        end = day + timedelta(days=1)
        run = dag.create_dagrun(
            run_id=f"scheduled__{end.isoformat()}",
            logical_date=day,
            data_interval=(day, end),
            run_after=end,
            run_type=DagRunType.SCHEDULED,
            triggered_by=DagRunTriggeredByType.TIMETABLE,
            state=DagRunState(state),
            start_date=end,
            session=session,
        )
        session.flush()
        session.expunge_all()
    return run


class Scheduler:
    """Airflow's scheduler, one turn at a time, with an executor that takes tasks and starts none."""

    def __init__(self) -> None:
        from airflow.executors.base_executor import BaseExecutor
        from airflow.jobs.job import Job
        from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

        class TakesAll(BaseExecutor):
            def queue_workload(self, workload: Any, session: Any) -> None: ...

        executor = TakesAll()
        job = Job()  # type: ignore[no-untyped-call]
        job.executor = executor
        self._runner = SchedulerJobRunner(job=job, executors=[executor])

    def turn(self) -> None:
        """As often as it takes from a run's being queued to its tasks' being so."""
        from airflow.utils.session import create_session

        for _ in range(3):
            with create_session() as session:
                self._runner._do_scheduling(session)

    def queued(self) -> Counter[str]:
        """How many tasks of each id wait for the executor's worker or are with it."""
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session

        with create_session() as session:
            query = session.query(TaskInstance.task_id).where(TaskInstance.state == "queued")
            return Counter(row[0] for row in query)

    def queued_by_dag(self, task_id: str) -> Counter[str]:
        """How many tasks of that id each DAG has with the executor."""
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session

        with create_session() as session:
            query = session.query(TaskInstance.dag_id).where(
                TaskInstance.task_id == task_id, TaskInstance.state == "queued"
            )
            return Counter(row[0] for row in query)

    def end_plans(self, *, skip: str, run_id: str | None = None) -> None:
        """What workers do: each `plan` that was queued succeeds and skips a task, and its `shards` finds one."""
        from airflow.models.taskinstance import TaskInstance
        from airflow.models.taskmap import TaskMap
        from airflow.utils.session import create_session

        with create_session() as session:
            query = session.query(TaskInstance).where(TaskInstance.task_id == "plan", TaskInstance.state == "queued")
            plans = [plan for plan in query if run_id in (None, plan.run_id)]
            assert plans
            for plan in plans:
                plan.state = "success"
                other = session.query(TaskInstance).where(
                    TaskInstance.dag_id == plan.dag_id, TaskInstance.run_id == plan.run_id, TaskInstance.task_id == skip
                )
                other.one().state = "skipped"
                cut = session.query(TaskInstance).where(
                    TaskInstance.dag_id == plan.dag_id,
                    TaskInstance.run_id == plan.run_id,
                    TaskInstance.task_id == "shards",
                )
                cut.one().state = "success"
                session.add(TaskMap(plan.dag_id, "shards", plan.run_id, -1, 1, None))
