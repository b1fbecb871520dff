"""What Airflow calls when a run has failed, and when a scan of the schedule is late; and from when on one is late.

A failure's callback runs in the DAG processor, that of a deadline in the triggerer: neither needs a worker's slot,
which may all be taken by what is late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import Context
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import BaseDeadlineReference, DeadlineAlert

from sniffer.core.text import one_line
from sniffer_airflow.alerts.channels import send
from sniffer_airflow.alerts.message import AlertMessage
from sniffer_airflow.forms.variables import read_variable
from sniffer_airflow.names import BACKFILL_DAG, BUCKET_VARIABLE, SCAN_DAG, run_url

_REASONS = {
    "task_failure": "a task has failed",
    "timed_out": "the run took longer than it may",
    "all_tasks_deadlocked": "its tasks wait for each other",
}
_BUCKET_CHARS = 63


class ScheduledRunDue(BaseDeadlineReference):
    """When a run of the schedule was due; none for runs by hand and backfills, whose dates may be years ago.

    Airflow's own reference to the logical date would be a day early, or a week: it is the start of a run's interval.
    """

    required_kwargs = frozenset({"dag_id", "run_id"})

    def _evaluate_with(self, *, session: Any, dag_id: str, run_id: str) -> datetime | None:
        from airflow.models import DagRun
        from airflow.utils.types import DagRunType

        found = DagRun.find(dag_id=dag_id, run_id=run_id, run_type=DagRunType.SCHEDULED, session=session)
        return next((run.run_after for run in found), None)


def late_alert(late_after: timedelta, bucket: str = "") -> DeadlineAlert:
    """Tell of a run of the schedule that has not ended well so long after it was due."""
    hours = late_after.total_seconds() / 3600
    return DeadlineAlert(
        reference=ScheduledRunDue(),
        interval=late_after,
        callback=AsyncCallback(tell_of_late_run, kwargs={"bucket": bucket, "hours": hours}),
        name=f"not finished {hours:g} h after it was due",
    )


def tell_of_failure(context: Context, bucket: str = "") -> None:
    """Tell of a failed run, as `on_failure_callback` of a DAG."""
    dag_id, run_id = context["dag"].dag_id, context["run_id"]
    reason = _REASONS.get(str(context.get("reason")), "the run has failed")
    if (ti := context.get("ti")) is not None:
        reason = f"{reason}, {ti.task_id} was the last"
    conf = getattr(context.get("dag_run"), "conf", None)
    send(AlertMessage(dag_id, run_id, reason, run_url(dag_id, run_id), bucket or _bucket_of(dag_id, conf)))


async def tell_of_late_run(context: Any, bucket: str, hours: float) -> None:
    """Tell of a late run, as the callback of a deadline: what sends does not wait in the triggerer's loop."""
    await asyncio.to_thread(_tell_of_late_run, context, bucket, hours)


def _tell_of_late_run(context: Any, bucket: str, hours: float) -> None:
    run = context["dag_run"]
    dag_id, run_id, state = run["dag_id"], run["dag_run_id"], run["state"]
    reason = f"not finished {hours:g} h after it was due: {state}"
    send(AlertMessage(dag_id, run_id, reason, run_url(dag_id, run_id), bucket or _bucket_of(dag_id, run.get("conf"))))


def _bucket_of(dag_id: str, conf: Mapping[str, Any] | None) -> str:
    """The bucket of a run that has one in its form, or the nightly one. A prefix is no part of it."""
    if dag_id not in (SCAN_DAG, BACKFILL_DAG):
        return ""
    given = str((conf or {}).get("bucket") or "").strip() or read_variable(BUCKET_VARIABLE)
    name = given.partition("://")[2] if "://" in given else given
    return one_line(name.partition("/")[0], _BUCKET_CHARS)
