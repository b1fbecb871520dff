"""Whose answer counts when a whole bucket is to be scanned."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from support.estimates import ESTIMATE
from support.task_context import TaskInstance, TaskStateStore, task_context

from sniffer.core.errors import SettingsError
from sniffer.core.json_records import json_values
from sniffer_airflow.backfill import approval
from sniffer_airflow.backfill.approval import approval_operator

DIGEST = "3f0a" * 16


def context(*, asked: str | None, started_by: str) -> Any:
    """Of an answer to a question about that digest."""
    estimate = json_values(dataclasses.replace(ESTIMATE, digest=DIGEST))
    store = TaskStateStore()
    if asked is not None:
        store.set("asked", asked)
    found: Any = task_context(TaskInstance(task_id="approve", results={"estimate": estimate}), store)
    found["dag_run"] = SimpleNamespace(triggering_user_name=started_by)
    return found


def approved_by(name: str, reason: str = "") -> dict[str, Any]:
    return {
        "chosen_options": ["Approve"],
        "params_input": {"reason": reason},
        "responded_by_user": {"id": "1", "name": name},
    }


@pytest.mark.parametrize("name", ["eve", "Eve  B.", "e" * 300, "eve\t"])
def test_whoever_started_the_run_cannot_approve_it_whatever_the_name(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNIFFER_FOUR_EYES", "yes")
    with pytest.raises(AirflowException, match="has started this run, and cannot approve what it costs"):
        approval_operator().execute_complete(context(asked=DIGEST, started_by=name), approved_by(name))


def test_no_other_spelling_of_a_name_is_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNIFFER_FOUR_EYES", "yes")
    with pytest.raises(AirflowException, match="Eve has started this run"):
        approval_operator().execute_complete(context(asked=DIGEST, started_by="eve"), approved_by("Eve"))


@pytest.mark.parametrize("asked", ["77aa", None])
def test_an_answer_counts_for_the_estimate_that_was_asked_about(
    asked: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`estimate` was cleared alone, and ran again, while its question waited."""
    with pytest.raises(
        AirflowException, match=f"was not shown the estimate .* name their digest, {DIGEST[:16]}, in the"
    ) as refused:
        approval_operator().execute_complete(context(asked=asked, started_by="eve"), approved_by("ben"))
    assert not isinstance(refused.value, AirflowFailException), "the next try asks again"

    def database() -> None:
        raise SettingsError("it would be recorded")

    monkeypatch.setattr(approval, "decide_database", database)
    with pytest.raises(AirflowFailException, match="it would be recorded"):
        approval_operator().execute_complete(
            context(asked=asked, started_by="eve"), approved_by("ben", f"seen {DIGEST[:16]}")
        )
