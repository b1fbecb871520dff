"""The tasks of `backfill_bucket`, as its graph uses them: plan, cut, estimate, shards, scan; others are a scan's."""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk import BaseOperator, XComArg, task
from airflow.sdk.definitions.mappedoperator import MappedOperator

from sniffer.core.rates import Rates
from sniffer_airflow.backfill.form import BackfillForm
from sniffer_airflow.backfill.plan import plan_backfill
from sniffer_airflow.executors.choose import from_plan, mapped_program, program, text_from_plan
from sniffer_airflow.executors.errors import errors_by_reaction
from sniffer_airflow.forms.fields import Json
from sniffer_airflow.forms.variables import in_words, read_variable
from sniffer_airflow.names import RATES_VARIABLE, dag_run_text, name_of_run
from sniffer_airflow.pools import BACKFILL_POOL
from sniffer_airflow.scan.tasks import BACKFILL_PRIORITY, SCAN_TASK
from sniffer_airflow.scan.window import RunDates

log = logging.getLogger(__name__)


@task
def plan(*, dag_run: Any = None, params: Any = None) -> dict[str, Json]:
    """What this run scans: every default filled in, contradictions refused, and the flags for each program."""
    with errors_by_reaction():
        prices = read_variable(RATES_VARIABLE)
        planned = plan_backfill(
            run_name=name_of_run(dag_run.dag_id, dag_run.run_id),
            dag_run=dag_run_text(dag_run.dag_id, dag_run.run_id),
            dates=RunDates.of(dag_run),
            form=BackfillForm.parse(params),
            rates=Rates.parse(prices, in_words(RATES_VARIABLE)) if prices else None,
        )
    document = planned.document()
    for name, value in document.items():
        log.info("%-18s %s", name, "-" if value in (None, "", []) else value)
    log.info("this run scans %s", planned.in_words())
    return document


def cut() -> BaseOperator:
    """`python -m sniffer.scan.plan`: makes the plan of shards and keeps it."""
    return program(
        task_id="cut",
        module="sniffer.scan.plan",
        arguments=from_plan("arguments"),
        needs=("aws", "mysql"),
        leave_out=("shards", "scans"),
    )


def estimate() -> BaseOperator:
    """`python -m sniffer.backfill.estimate`; its XCom is the estimate, without the shards' own figures."""
    return program(
        task_id="estimate",
        module="sniffer.backfill.estimate",
        arguments=from_plan("estimate_arguments"),
        needs=("aws", "mysql"),
        leave_out=("shards",),
    )


def shards() -> BaseOperator:
    """`python -m sniffer.backfill.recount`; its XCom is what is left to scan, in the order of the form."""
    return program(
        task_id="shards",
        module="sniffer.backfill.recount",
        arguments=from_plan("shards_arguments"),
        needs=("aws", "mysql"),
        only="scans",
    )


def scan(items: XComArg) -> MappedOperator:
    """`python -m sniffer.scan` for each shard, only within the hours of the form."""
    return mapped_program(
        items,
        task_id=SCAN_TASK,
        module="sniffer.scan",
        more_arguments=from_plan("scan_arguments"),
        at_a_time=text_from_plan("shards_at_a_time"),
        hours=text_from_plan("hours"),
        again_if="rest_after",
        progress_flag="--progress",
        leave_out=("failure_samples",),
        pool=BACKFILL_POOL,
        priority_weight=BACKFILL_PRIORITY,
        weight_rule="absolute",
    )
