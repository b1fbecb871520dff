"""What a task has to show before it, or what follows it, is believed: a state of Airflow's alone proves nothing.

Airflow can end a task that was killed as successful (apache/airflow issue 73006). So a result is taken only if it is
marked with the task it was made for, and no program starts after one that handed nothing on.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from airflow.sdk import Context
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from sniffer.core.program import RESULT_MARK
from sniffer.core.variables import RESULT_OF
from sniffer_airflow.executors.owner import Owner

RESULT_FLAG = "--result"
"""By which each of our programs takes the file to write its result to."""

_SUCCESS = "success"


def mark_of(owner: Owner) -> dict[str, str]:
    """What a program is given besides, so that its result names the task that it was made for."""
    return {RESULT_OF.name: str(owner)}


def proved(result: object, owner: Owner, module: str) -> dict[str, Any]:
    """The result of the program that worked for that task, without its mark.

    AirflowFailException when there is none, since the same program would hand on none again; AirflowException, which is
    retried, when it was made for another task or run, or by a release that marks none.
    """
    if not isinstance(result, dict):
        raise AirflowFailException(f"{module} succeeded but wrote no JSON object to its {RESULT_FLAG} file")
    made_for = result.get(RESULT_MARK)
    if made_for != str(owner):
        whose = f"is that of {made_for}" if made_for else "does not say whose it is, as that of an older image"
        raise AirflowException(
            f"the result of {module} {whose}, and {owner} takes no other than its own: it runs again"
        )
    return {name: value for name, value in result.items() if name != RESULT_MARK}


def refuse_unproved(context: Context, task: Any) -> None:
    """AirflowFailException where a program before this task is successful for Airflow, and handed nothing on."""
    before = _programs(task)
    if not before:
        return
    ti = context["ti"]
    found = ti.get_task_states(ti.dag_id, task_ids=before, run_ids=[ti.run_id]).get(ti.run_id, {})
    for name in before:
        if found.get(name) == _SUCCESS and ti.xcom_pull(task_ids=name) is None:
            raise AirflowFailException(
                f"the task {name} is successful for Airflow, but has handed on no result, as when it was killed: clear "
                f"{name}, so that it runs again"
            )


def _programs(task: Any) -> list[str]:
    """The tasks just before it that run one of our programs, once."""
    names: Collection[str] = task.upstream_task_ids
    found = ((name, task.dag.get_task(name)) for name in sorted(names))
    return [
        name
        for name, one in found
        if isinstance(getattr(one, "module", None), str) and not isinstance(one, MappedOperator)
    ]
