"""What a program handed on to the tasks after it, as a record of sniffer.core."""

from __future__ import annotations

from typing import Any, TypeVar

from sniffer.core.json_records import parse_record
from sniffer_airflow.executors.errors import errors_by_reaction

ResultT = TypeVar("ResultT")


def result_of(ti: Any, task_id: str, kind: type[ResultT]) -> ResultT:
    """The result of the program that the task ran; AirflowFailException when it has another form."""
    where, remedy = f"the result of the task {task_id}", "clear that task, so that it runs again"
    with errors_by_reaction():
        # A step of a rollout hands on more than the record, such as its target.
        return parse_record(ti.xcom_pull(task_ids=task_id), kind, where, remedy, ignore_unknown=True)
