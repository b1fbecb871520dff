"""The answer of an approval, as `promote` checks it: people can edit it, and it must still be what was given."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.api.datamodels._generated import DagRunType
from airflow.sdk.exceptions import AirflowFailException
from support.asset_events import event, triggering
from support.dag_runs import connection_of

from sniffer.adapters.mysql.database import Database
from sniffer.core.model_records import ModelRecord, ModelStatus
from sniffer_airflow.names import SAVEDMODEL
from sniffer_airflow.rollout.approval import say_who_decided
from sniffer_airflow.rollout.signature import is_signed, sign
from sniffer_airflow.rollout.versions import database_secret

STEP = ["promote", "--version=4", "--model-base-path=s3://models"]
GIVEN = {
    "dag_id": "rollout_serving",
    "run_id": "manual__1",
    "version": 4,
    "approved_by": "ben",
    "approval_reason": "figures hold",
}


@pytest.fixture
def models(airflow_database: None, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", connection_of(database_url))
    monkeypatch.setenv("SNIFFER_FOUR_EYES", "yes")
    monkeypatch.setenv("SNIFFER_APPROVE_AUTOMATIC", "no")
    database.models.register(ModelRecord(4, "4" * 64, "b" * 64, "1", 0.5, ModelStatus.BLESSED))


def promoted(answer: Any, *, asked_by: str | None = "ana", run_type: str = "manual", events: Any = ()) -> list[str]:
    """The words that `promote` runs with, when `approve` has left that answer."""
    task = SimpleNamespace(arguments=STEP)
    context: Any = {
        "task": task,
        "ti": SimpleNamespace(xcom_pull=lambda task_ids: {"approve": answer}[task_ids]),
        "dag_run": SimpleNamespace(
            dag_id=GIVEN["dag_id"], run_id=GIVEN["run_id"], run_type=DagRunType(run_type), triggering_user_name=asked_by
        ),
        "params": {},
        "inlet_events": triggering(event(SAVEDMODEL, {}), *events),
    }
    say_who_decided(context)
    return list(task.arguments[len(STEP) :])


def signed(**changed: Any) -> dict[str, Any]:
    return {**GIVEN, "signature": sign(GIVEN, database_secret()), **changed}


@pytest.mark.usefixtures("models")
def test_the_answer_that_was_given_is_handed_on_and_no_edited_one() -> None:
    names = ["--requested-by=ana", "--approved-by=ben", "--approval-reason=figures hold"]
    assert promoted(signed()) == names
    for edited in (
        signed(approved_by="dora"),
        signed(approval_reason="because"),
        signed(approval_reason=None),
        signed(signature=None),
        signed(signature=sign(GIVEN, "another secret")),
        # Signed as it should be, but for another version or another run.
        signed(signature=sign({**GIVEN, "version": 5}, database_secret())),
        signed(signature=sign({**GIVEN, "run_id": "manual__0"}, database_secret())),
    ):
        with pytest.raises(AirflowFailException, match="is not the answer that was given there for version 4"):
            promoted(edited)
    for none in (None, "Approve", ["Approve"]):
        with pytest.raises(AirflowFailException, match="marking `approve` as successful is none"):
            promoted(none)
    with pytest.raises(AirflowFailException, match="ben asked for this rollout"):
        promoted(signed(), asked_by="ben")


@pytest.mark.usefixtures("models")
def test_an_automatic_rollout_waits_for_those_alone_whom_an_export_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_event(extra: Any, answer: Any = None, by: Any = ("export_model", "announce_savedmodel")) -> list[str]:
        return promoted(answer, asked_by=None, run_type="asset_triggered", events=[event(SAVEDMODEL, extra, by)])

    assert by_event({"version": 4}) == []
    assert by_event({"version": 3, "requested_by": ["ana"]}) == []
    assert by_event({"version": 4, "requested_by": ["ana"]}, by=None) == []
    with pytest.raises(AirflowFailException, match="version 4 needs an approval"):
        by_event({"version": 4, "requested_by": ["ana"]})
    with pytest.raises(AirflowFailException, match="ben asked for this rollout"):
        by_event({"version": 4, "requested_by": ["ana", "ben"]}, signed())
    assert by_event({"version": 4, "requested_by": ["ana"]}, signed())[0] == "--requested-by=ana"
    monkeypatch.setenv("SNIFFER_APPROVE_AUTOMATIC", "yes")
    with pytest.raises(AirflowFailException, match="version 4 needs an approval"):
        by_event({"version": 4})
    assert by_event({"version": 4}, signed())[0] == "--approved-by=ben"


def test_a_signature_is_of_just_these_values() -> None:
    signature = sign(GIVEN, "secret")
    assert is_signed(dict(reversed(GIVEN.items())), signature, "secret")
    assert not is_signed(GIVEN, signature, "Secret")
    assert not is_signed(GIVEN, signature[:-1], "secret")
    assert not is_signed(GIVEN, None, "secret")
    for name in GIVEN:
        assert not is_signed({**GIVEN, name: None}, signature, "secret"), name
        assert not is_signed({key: value for key, value in GIVEN.items() if key != name}, signature, "secret"), name
