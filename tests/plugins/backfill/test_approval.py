"""Whose answer counts when a whole bucket is to be scanned."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException
from support.estimates import ESTIMATE
from support.task_context import TaskInstance, task_context

from sniffer.core.json_records import json_values
from sniffer_airflow.backfill.approval import approval_operator


@pytest.mark.parametrize("name", ["eve", "Eve  B.", "e" * 300, "eve\t"])
def test_whoever_started_the_run_cannot_approve_it_whatever_the_name(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNIFFER_FOUR_EYES", "yes")
    context: Any = task_context(TaskInstance(task_id="approve", results={"estimate": json_values(ESTIMATE)}))
    context["dag_run"] = SimpleNamespace(triggering_user_name=name)
    event = {"chosen_options": ["Approve"], "params_input": {}, "responded_by_user": {"id": "1", "name": name}}
    with pytest.raises(AirflowException, match="has started this run, and cannot approve what it costs"):
        approval_operator().execute_complete(context, event)
