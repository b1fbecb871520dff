"""So many of a mapped task's instances at a time as the form says: Airflow's own limits are those of the DAG's code."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowRescheduleException

_WAIT_S, _LONGEST_WAIT_S = 60, 1800


def wait_for_turn(context: Context, at_a_time: str, log: Any) -> None:
    """Give the place back, for a later start, while more than `at_a_time` instances run; empty: never.

    AirflowRescheduleException, which is no retry. Who comes late in the order waits longer, so that many that wait cost
    little; several that start at once may all stand back.
    """
    if not at_a_time:
        return
    ti = context["ti"]
    running = ti.get_ti_count(dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], states=["running"])
    if running <= int(at_a_time):
        return
    wait_s = min(_WAIT_S * (1 + max(ti.map_index or 0, 0) // int(at_a_time)), _LONGEST_WAIT_S)
    log.info("%d run, this one included, and %s may: it is started again in %d s", running, at_a_time, wait_s)
    raise AirflowRescheduleException(datetime.now(UTC) + timedelta(seconds=wait_s))  # type: ignore[no-untyped-call]
