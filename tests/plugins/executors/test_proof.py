"""What is believed of a program's end: a result of this very task, and of the programs before it one of each."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from support.task_context import TaskInstance, task_context

from sniffer_airflow.executors.owner import Owner
from sniffer_airflow.executors.program import ProgramOperator
from sniffer_airflow.executors.proof import proved, refuse_unproved

SHARD = Owner("scan_bucket", "night", "scan", 3)


def test_a_result_of_this_very_task_is_taken_without_its_mark() -> None:
    assert proved({"result_of": str(SHARD), "listed": 7}, SHARD, "sniffer.scan") == {"listed": 7}


@pytest.mark.parametrize(
    "made_for",
    [
        Owner("scan_bucket", "night", "scan", 4),
        Owner("scan_bucket", "night", "scan"),
        Owner("scan_bucket", "yesterday", "scan", 3),
        Owner("scan_other", "night", "scan", 3),
        Owner("scan_bucket", "night", "scan_backfill", 3),
    ],
    ids=str,
)
def test_a_result_of_another_task_is_tried_again(made_for: Owner) -> None:
    with pytest.raises(AirflowException, match=f"is that of {made_for}, and {SHARD} takes no other") as raised:
        proved({"result_of": str(made_for)}, SHARD, "sniffer.scan")
    assert not isinstance(raised.value, AirflowFailException)


def test_a_result_without_a_mark_is_tried_again_and_none_is_a_failure_for_good() -> None:
    with pytest.raises(AirflowException, match="does not say whose it is") as raised:
        proved({"listed": 7}, SHARD, "sniffer.scan")
    assert not isinstance(raised.value, AirflowFailException)
    nothing: tuple[object, ...] = (None, [], "text", 7)
    for result in nothing:
        with pytest.raises(AirflowFailException, match="wrote no JSON object to its --result file"):
            proved(result, SHARD, "sniffer.scan")


@pytest.mark.parametrize(
    ("states", "results", "is_refused"),
    [
        ({"train": "success"}, {"train": {}}, False),
        ({"train": "success"}, {}, True),
        ({"train": "success"}, {"evaluate": {}}, True),
        # By its trigger rule a task may well follow one that failed or was skipped.
        ({"train": "failed"}, {}, False),
        ({"train": "skipped"}, {}, False),
    ],
)
def test_no_program_starts_after_one_that_handed_nothing_on(
    states: dict[str, str], results: dict[str, Any], is_refused: bool
) -> None:
    with DAG("retrain", schedule=None):
        train, evaluate = (ProgramOperator(task_id=name, module="pretend") for name in ("train", "evaluate"))
        train >> evaluate
    context = task_context(TaskInstance(task_id="evaluate", states=states, results=results))
    refuse_unproved(context, train)  # nothing is before it
    if not is_refused:
        refuse_unproved(context, evaluate)
        return
    with pytest.raises(AirflowFailException, match="the task train is successful for Airflow, but .* clear train, so"):
        evaluate.execute(context)
