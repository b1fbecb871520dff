"""When a task gives its place back and is started again later, which is no retry: it has to wait, or has lost its pod.

So many of a mapped task's instances run at a time as the form says: Airflow's own limits are those of the DAG's code.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowRescheduleException

_WAIT_S, _LONGEST_WAIT_S = 60, 1800
LOST_AT_MOST = 10
"""Pods that may be taken away from one try of a task. A spot node that comes and goes is no fault of the program; more
may be one, as where its own disk is full each time."""
_LOST_WAIT_S = 30
_LOST = "lost_pods"


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


def start_another(context: Context, why: str, log: Any) -> None:
    """Have the task start again, for another pod, since its own was taken away; return after too many in one try."""
    ti, store = context["ti"], context.get("task_state_store")
    if store is None:
        return
    kept = store.get(_LOST)
    known = kept["count"] if isinstance(kept, dict) and kept.get("try") == ti.try_number else 0
    lost = 1 + (known if isinstance(known, int) else 0)
    if lost > LOST_AT_MOST:
        return
    store.set(_LOST, {"try": ti.try_number, "count": lost})
    log.warning("%s: this task is started again (%d of %d), which is no retry", why, lost, LOST_AT_MOST)
    raise AirflowRescheduleException(datetime.now(UTC) + timedelta(seconds=_LOST_WAIT_S * lost))  # type: ignore[no-untyped-call]
