"""The three tasks of `scan_bucket`, as its graph uses them: plan, scan, certify."""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk import BaseOperator, XComArg, task
from airflow.sdk.exceptions import AirflowSkipException

from sniffer_airflow.executors.choose import program
from sniffer_airflow.executors.errors import errors_by_reaction
from sniffer_airflow.names import SCANNED_IMAGES
from sniffer_airflow.scan import certify as certificates
from sniffer_airflow.scan.plan import plan_of_run

SCANS_AT_A_TIME = 2
"""Over all runs of the DAG, backfills included, which max_active_runs does not bound. A scan fills its machine."""

log = logging.getLogger(__name__)


@task(multiple_outputs=True)
def plan(*, dag_run: Any = None, params: Any = None) -> dict[str, Any]:
    """What this run scans: every default filled in, contradictions refused, and the flags for the program."""
    with errors_by_reaction():
        planned = plan_of_run(dag_run, params)
    for name, value in planned.document().items():
        log.info("%-14s %s", name, "-" if value in (None, "") else value)
    return planned.document() | {"arguments": planned.arguments()}


def scan(arguments: XComArg) -> BaseOperator:
    """`python -m sniffer.scan`; its XCom is the certificate without samples (of a dry run: the estimate)."""
    return program(
        task_id="scan",
        module="sniffer.scan",
        arguments=arguments,
        report_flag="--result",
        progress_flag="--progress",
        leave_out=("failure_samples",),
        max_active_tis_per_dag=SCANS_AT_A_TIME,
    )


@task(outlets=[SCANNED_IMAGES])
def certify(planned: dict[str, Any], *, outlet_events: Any = None) -> dict[str, Any]:
    """Judge the certificate in MySQL; an event of the Asset `scanned_images` if it holds, failure if not."""
    if planned["dry_run"]:
        raise AirflowSkipException(
            "dry run: nothing was scanned, so there is nothing to certify; see the XCom of `scan`"
        )
    with errors_by_reaction():
        certificate = certificates.judge(planned["scan_id"], certificates.stored_certificate(planned["scan_id"]))
    extra = certificates.asset_extra(certificate)
    outlet_events[SCANNED_IMAGES].extra = extra
    return extra
