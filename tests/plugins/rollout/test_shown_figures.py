"""An approval is of the figures that the question shows, or that it names: Airflow never changes a question's text."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.api.datamodels._generated import DagRunType
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from support.dag_runs import connection_of
from support.task_context import TaskInstance, TaskStateStore, task_context

from sniffer.adapters.mysql.database import Database
from sniffer.core.model_records import ModelRecord, ModelStatus
from sniffer.core.rollout_records import VerifyReport
from sniffer_airflow.questions import keep_shown
from sniffer_airflow.rollout.approval import _mark, approval_operator
from sniffer_airflow.rollout.versions import GateRemarks


@pytest.fixture(autouse=True)
def models(airflow_database: None, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", connection_of(database_url))
    monkeypatch.setenv("SNIFFER_FOUR_EYES", "yes")
    database.models.register(ModelRecord(4, "4" * 64, "b" * 64, "1", 0.5, ModelStatus.BLESSED))


def found(difference: float) -> dict[str, Any]:
    return {"version": 4, "golden": {"http://one:8501": {"pixels": difference, "serving_default": difference}}}


def mark(difference: float) -> str:
    golden: Any = found(difference)["golden"]
    return _mark(VerifyReport(4, golden), GateRemarks())


def answered(option: str, reason: str, *, shows: float, finds: float) -> Any:
    """What `approve` hands on when its text shows one difference, and `verify` has found another since."""
    context: Any = task_context(
        TaskInstance(dag_id="rollout_serving", task_id="approve", results={"verify": found(finds)}), TaskStateStore()
    )
    context["dag_run"] = SimpleNamespace(
        dag_id="rollout_serving", run_id="manual__1", run_type=DagRunType("manual"), triggering_user_name="ana"
    )
    context["params"] = {}
    keep_shown(context, [mark(shows)])
    event = {
        "chosen_options": [option],
        "params_input": {"reason": reason},
        "responded_by_user": {"id": "1", "name": "ben"},
        "responded_at": datetime(2026, 11, 26, 20, tzinfo=UTC),
        "timedout": False,
    }
    return approval_operator().execute_complete(context, event)


def test_what_is_shown_is_approved() -> None:
    assert answered("Approve", "figures hold", shows=1e-6, finds=1e-6)["approved_by"] == "ben"


def test_what_was_found_since_is_approved_only_by_its_name() -> None:
    with pytest.raises(AirflowException, match=f"`verify` has run again.* give {mark(0.5)} in the reason") as refused:
        answered("Approve", f"figures hold, {mark(1e-6)}", shows=1e-6, finds=0.5)
    assert not isinstance(refused.value, AirflowFailException), "the question is asked again"
    assert answered("Approve", f"seen: {mark(0.5)}", shows=1e-6, finds=0.5)["approved_by"] == "ben"


def test_it_is_rejected_whatever_was_found_since() -> None:
    with pytest.raises(AirflowFailException, match="rejected by ben"):
        answered("Reject", "", shows=1e-6, finds=0.5)
