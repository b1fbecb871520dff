"""The tasks of `measure_recall`, as its graph uses them: plan, draw, measure, report."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

from airflow.sdk import BaseOperator, task
from airflow.sdk.exceptions import AirflowFailException

from sniffer.core.recall_records import DrawnSamples, RecallReport
from sniffer.core.recall_words import report_in_words
from sniffer_airflow.executors.choose import from_plan, program
from sniffer_airflow.executors.errors import errors_by_reaction
from sniffer_airflow.executors.results import result_of
from sniffer_airflow.forms.fields import Json
from sniffer_airflow.forms.variables import read_variable
from sniffer_airflow.names import RECALL_VARIABLE
from sniffer_airflow.recall.form import RecallForm
from sniffer_airflow.recall.plan import plan_recall

log = logging.getLogger(__name__)


@task(task_id="plan")
def plan_of_recall(*, params: Any = None) -> dict[str, Json]:
    """The flags of both programs, by the form and the Variable."""
    with errors_by_reaction():
        defaults = RecallForm.of_variable(read_variable(RECALL_VARIABLE))
        return asdict(plan_recall(RecallForm.parse(params), defaults))


def recall_program(step: str) -> BaseOperator:
    """The program of that step; its XCom is its result."""
    return program(
        task_id=step,
        module=f"sniffer.recall.{step}",
        arguments=from_plan(step),
        needs=("mysql",),
        max_active_tis_per_dag=1,
    )


@task
def report(*, ti: Any = None) -> None:
    """What was measured, in the log and as XCom; fails when somebody has to look at what changed or was left out."""
    drawn, measured = result_of(ti, "draw", DrawnSamples), result_of(ti, "measure", RecallReport)
    text = report_in_words(measured)
    for line in text.splitlines():
        log.info("%s", line)
    ti.xcom_push("return_value", {"text": text, "alarms": list(measured.alarms)})
    left_out = [one.problem for one in drawn.left_out]
    if problems := "; ".join([*measured.alarms, *left_out]):
        raise AirflowFailException(problems)
