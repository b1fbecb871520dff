"""The tasks of a scan, as its graph uses them: plan, shards, scan (of a backfill: scan_backfill), certify."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator, TriggerRule, XComArg, task
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.exceptions import AirflowSkipException, DownstreamTasksSkipped

from sniffer_airflow.executors.choose import from_plan, mapped_program, program, text_from_plan
from sniffer_airflow.executors.errors import errors_by_reaction
from sniffer_airflow.executors.results import result_of
from sniffer_airflow.forms.fields import Json
from sniffer_airflow.forms.variables import read_variable
from sniffer_airflow.names import (
    BUCKET_VARIABLE,
    PREFIX_VARIABLE,
    SCAN_DAG,
    SCAN_VARIABLE,
    SCANNED_IMAGES,
    dag_run_text,
    name_of_run,
)
from sniffer_airflow.pools import BACKFILL_POOL, SCAN_POOL, SCANS_AT_A_TIME
from sniffer_airflow.scan.certify import asset_extra, judge, log_in_words, stored_certificate
from sniffer_airflow.scan.form import NightlyTarget, ScanForm
from sniffer_airflow.scan.plan import PlannedScan, advice, plan_scan
from sniffer_airflow.scan.source_table import read_sources
from sniffer_airflow.scan.sources import LATE_AFTER_HOURS, ScanSource
from sniffer_airflow.scan.timetable import EVERY_NIGHT, NightsAndBackfills
from sniffer_airflow.scan.window import RunDates

NIGHT_PRIORITY, BACKFILL_PRIORITY = 100, 1
"""Which of the tasks that could start does, where they share more than a pool: the workers."""
SCAN_TASK, BACKFILL_TASK = "scan", "scan_backfill"

log = logging.getLogger(__name__)


@task
def plan(*, dag_run: Any = None, params: Any = None, ti: Any = None) -> dict[str, Json]:
    """What this run scans: every default filled in, contradictions refused, and the flags for the program."""
    dates = RunDates.of(dag_run)
    with errors_by_reaction():
        source = None if dag_run.dag_id == SCAN_DAG else read_sources().source_of(dag_run.dag_id)
        schedule = NightsAndBackfills(source.schedule if source else EVERY_NIGHT)
        late_after = source.late_after if source else timedelta(hours=LATE_AFTER_HOURS)
        planned = plan_scan(
            run_name=name_of_run(dag_run.dag_id, dag_run.run_id),
            dag_run=dag_run_text(dag_run.dag_id, dag_run.run_id),
            dates=dates,
            form=ScanForm.parse(params, dag_id=dag_run.dag_id),
            nightly=source.nightly if source else _nightly_target(),
            next_due=schedule.next_after(dates.run_after) + late_after,
        )
    for name, value in planned.document().items():
        log.info("%-14s %s", name, "-" if value in (None, "", []) else value)
    log.info("this run scans %s", planned.in_words())
    if advised := advice(planned, dates):
        log.info("%s", advised)
    words: dict[str, Json] = {"arguments": planned.arguments(), "scan_arguments": planned.scan_arguments()}
    ti.xcom_push("return_value", planned.document() | words)
    other = SCAN_TASK if dates.is_backfill else BACKFILL_TASK
    raise DownstreamTasksSkipped(tasks=[other])  # type: ignore[no-untyped-call]


def _nightly_target() -> NightlyTarget:
    """What `scan_bucket` scans unless its form says otherwise."""
    return NightlyTarget.parse(*map(read_variable, (BUCKET_VARIABLE, PREFIX_VARIABLE, SCAN_VARIABLE)))


def shards(source: ScanSource | None = None) -> BaseOperator:
    """`python -m sniffer.scan.plan`; its XCom is what is left to scan: a title and the words for each shard."""
    return program(
        task_id="shards",
        module="sniffer.scan.plan",
        arguments=from_plan("arguments", made_with="scan_arguments"),
        needs=("aws", "mysql"),
        only="scans",
        **_credentials(source),
    )


def scan(items: XComArg, source: ScanSource | None = None) -> MappedOperator:
    """`python -m sniffer.scan` for each shard; its XCom is the certificate without samples, or a dry run's estimate."""
    return _scan(items, SCAN_TASK, SCAN_POOL, NIGHT_PRIORITY, source)


def scan_backfill(items: XComArg, source: ScanSource | None = None) -> MappedOperator:
    """The same in a run of a backfill."""
    return _scan(items, BACKFILL_TASK, BACKFILL_POOL, BACKFILL_PRIORITY, source)


def _scan(items: XComArg, task_id: str, pool: str, priority: int, source: ScanSource | None) -> MappedOperator:
    return mapped_program(
        items,
        task_id=task_id,
        module="sniffer.scan",
        more_arguments=from_plan("scan_arguments"),
        at_a_time=text_from_plan("shards_at_a_time"),
        again_if="rest_after",
        progress_flag="--progress",
        leave_out=("failure_samples",),
        pool=pool,
        priority_weight=priority,
        weight_rule="absolute",
        max_active_tis_per_dag=source.at_a_time if source else SCANS_AT_A_TIME,
        **_credentials(source),
    )


def _credentials(source: ScanSource | None) -> dict[str, Any]:
    return {"aws_connection": source.connection, "environ": source.environ} if source else {}


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
