"""The tasks of `scan_bucket`, as its graph uses them: plan, scan (of a backfill: scan_backfill), certify."""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk import BaseOperator, TriggerRule, task
from airflow.sdk.exceptions import AirflowSkipException, DownstreamTasksSkipped

from sniffer_airflow.executors.choose import from_plan, program
from sniffer_airflow.executors.errors import errors_by_reaction
from sniffer_airflow.executors.results import result_of
from sniffer_airflow.forms.fields import Json
from sniffer_airflow.forms.variables import read_variable
from sniffer_airflow.names import (
    BUCKET_VARIABLE,
    PREFIX_VARIABLE,
    SCAN_VARIABLE,
    SCANNED_IMAGES,
    dag_run_text,
    name_of_run,
)
from sniffer_airflow.pools import BACKFILL_POOL, SCAN_POOL
from sniffer_airflow.scan.certify import asset_extra, judge, log_in_words, stored_certificate
from sniffer_airflow.scan.form import NightlyTarget, ScanForm
from sniffer_airflow.scan.plan import PlannedScan, advice, plan_scan
from sniffer_airflow.scan.window import RunDates

SCANS_AT_A_TIME = 2
"""Over all runs of the DAG but backfills, whatever max_active_runs says. Less than SCAN_POOL has: a bucket leaves room
for others. Airflow counts by task, so that backfills, which have a pool of their own, have one of their own."""
NIGHT_PRIORITY, BACKFILL_PRIORITY = 100, 1
"""Which of the tasks that could start does, where they share more than a pool: the workers."""
SCAN_TASK, BACKFILL_TASK = "scan", "scan_backfill"

log = logging.getLogger(__name__)


@task
def plan(*, dag_run: Any = None, params: Any = None, ti: Any = None) -> dict[str, Json]:
    """What this run scans: every default filled in, contradictions refused, and the flags for the program."""
    dates = RunDates.of(dag_run)
    with errors_by_reaction():
        planned = plan_scan(
            run_name=name_of_run(dag_run.dag_id, dag_run.run_id),
            dag_run=dag_run_text(dag_run.dag_id, dag_run.run_id),
            dates=dates,
            form=ScanForm.parse(params),
            nightly=NightlyTarget.parse(*map(read_variable, (BUCKET_VARIABLE, PREFIX_VARIABLE, SCAN_VARIABLE))),
        )
    for name, value in planned.document().items():
        log.info("%-14s %s", name, "-" if value in (None, "", []) else value)
    log.info("this run scans %s", planned.in_words())
    if advised := advice(planned, dates):
        log.info("%s", advised)
    ti.xcom_push("return_value", {**planned.document(), "arguments": [*planned.arguments()]})
    other = SCAN_TASK if dates.is_backfill else BACKFILL_TASK
    raise DownstreamTasksSkipped(tasks=[other])  # type: ignore[no-untyped-call]


def scan() -> BaseOperator:
    """`python -m sniffer.scan`; its XCom is the certificate without samples (of a dry run: the estimate)."""
    return _scan(SCAN_TASK, SCAN_POOL, NIGHT_PRIORITY)


def scan_backfill() -> BaseOperator:
    """The same in a run of a backfill."""
    return _scan(BACKFILL_TASK, BACKFILL_POOL, BACKFILL_PRIORITY)


def _scan(task_id: str, pool: str, priority: int) -> BaseOperator:
    return program(
        task_id=task_id,
        module="sniffer.scan",
        arguments=from_plan("arguments"),
        progress_flag="--progress",
        leave_out=("failure_samples",),
        pool=pool,
        priority_weight=priority,
        weight_rule="absolute",
        max_active_tis_per_dag=SCANS_AT_A_TIME,
    )


@task(outlets=[SCANNED_IMAGES], trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
def certify(*, ti: Any = None, outlet_events: Any = None) -> dict[str, Json]:
    """Judge the certificate in MySQL; an event of the Asset `scanned_images` if it holds, failure if not."""
    planned = result_of(ti, "plan", PlannedScan)
    if planned.dry_run:
        raise AirflowSkipException(
            "dry run: nothing was scanned, so there is nothing to certify; see the XCom of `scan`"
        )
    with errors_by_reaction():
        certificate = judge(planned.scan_id, stored_certificate(planned.scan_id))
    log_in_words(certificate, retried=planned.retry_failed)
    extra = asset_extra(certificate)
    outlet_events[SCANNED_IMAGES].extra = extra
    return extra
