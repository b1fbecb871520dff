"""What a program handed on to the tasks after it, as a record of sniffer.core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from sniffer.core.errors import ContractError
from sniffer.core.json_records import parse_record
from sniffer_airflow.executors.errors import errors_by_reaction

ResultT = TypeVar("ResultT")


def result_of(ti: Any, task_id: str, kind: type[ResultT], renamed: Mapping[str, str] | None = None) -> ResultT:
    """The result of the program that the task ran; AirflowFailException when it has another form.

    `renamed` has the names that fields had in earlier releases, and what they are now: a run may have begun with one.
    """
    where, remedy = f"the result of the task {task_id}", "clear that task, so that it runs again"
    with errors_by_reaction():
        # A step of a rollout hands on more than the record, such as its target.
        return parse_record(ti.xcom_pull(task_ids=task_id), kind, where, remedy, ignore_unknown=True, renamed=renamed)


@dataclass(frozen=True, slots=True)
class AboutModel:
    """What any result says of the model version that it is about: a scan's calls it `model_version`."""

    version: int | None = None
    model_version: int | None = None


def model_version_in(result: object) -> int | None:
    """The model version that a task's result is about; None when there is no result, or none that names a version."""
    try:
        about = parse_record(result, AboutModel, "a result", "", ignore_unknown=True)
    except ContractError:
        return None  # such as the estimate of a dry run, which may say `stable`
    return about.version or about.model_version
