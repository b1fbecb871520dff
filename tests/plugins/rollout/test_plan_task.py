"""The task `plan` of rollout_serving: which version, by whatever started the run."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.api.datamodels._generated import DagRunType
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from support.asset_events import event, triggering
from support.dag_runs import connection_of

from sniffer.adapters.mysql.database import Database
from sniffer.core.model_records import ModelRecord, ModelStatus
from sniffer_airflow.names import SAVEDMODEL
from sniffer_airflow.rollout.tasks import plan

BY_EXPORT = ("export_model", "announce_savedmodel")


@dataclass
class Store:
    """What Airflow keeps for a task from try to try."""

    kept: dict[str, Any] = field(default_factory=dict)

    def get(self, key: str) -> Any:
        return self.kept.get(key)

    def set(self, key: str, value: Any) -> None:
        self.kept[key] = value


def planned(*events: Any, store: Store | None = None, **form: Any) -> dict[str, Any]:
    """What `plan` says; the run is automatic if there are events."""
    found: Any = plan.function(
        params=form,
        dag_run=SimpleNamespace(run_type=DagRunType.ASSET_TRIGGERED if events else DagRunType.MANUAL),
        triggering_asset_events=triggering(*events),
        task_state_store=store or Store(),
    )
    return dict(found)


@pytest.fixture(autouse=True)
def _settings(airflow_database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_MODEL_BASE", "s3://models")
    monkeypatch.delenv("SNIFFER_FOUR_EYES", raising=False)


@pytest.fixture
def models(database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The database that Airflow's Connection names."""
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", connection_of(database_url))
    return database


def register(database: Database, version: int) -> None:
    database.models.register(ModelRecord(version, f"{version}" * 64, "b" * 64, "1", 0.5, ModelStatus.BLESSED))


@pytest.mark.parametrize("base", ["s3:/models", "models"])
def test_a_wrong_model_base_keeps_no_roll_back_from_its_work(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_MODEL_BASE", base)
    found = planned(action="roll back", version=3)
    assert found["first"] == "rollback"
    assert found["rollback"] == ["rollback", "--version=3", f"--model-base-path={base}"]


def test_a_roll_back_needs_no_model_base_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_VAR_SNIFFER_MODEL_BASE")
    assert planned(action="roll back", version=3)["rollback"] == ["rollback", "--version=3"]


def test_a_wrong_model_base_is_named_before_a_version_is_rolled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_MODEL_BASE", "s3:/models")
    with pytest.raises(AirflowFailException, match="the Variable sniffer_model_base must be a folder"):
        planned(version=3)


def test_an_automatic_run_takes_the_newest_version_of_models_whatever_the_events_say(models: Database) -> None:
    for extra in ({}, {"version": 2}):
        with pytest.raises(AirflowSkipException, match="no version has been exported yet"):
            planned(event(SAVEDMODEL, extra, BY_EXPORT))
    register(models, 2)
    register(models, 3)
    extras: list[Any] = [None, {}, {"version": "three"}, {"version": 2}, {"version": 9}]
    for extra in extras:
        assert planned(event(SAVEDMODEL, extra, BY_EXPORT))["version"] == 3
    models.models.promote(3)
    with pytest.raises(AirflowSkipException, match="version 3, the newest exported one, is or was stable already"):
        planned(event(SAVEDMODEL, {"version": 2}, BY_EXPORT))
    assert planned()["version"] == 3  # a person may roll it out again


def test_a_plan_that_is_cleared_after_a_roll_back_does_not_swap_back(models: Database) -> None:
    for version in (2, 3):
        register(models, version)
        models.models.promote(version)
    store = Store()
    assert planned(action="roll back", store=store)["version"] == 2
    models.models.promote(2)
    assert planned(action="roll back", store=store)["version"] == 2


def test_under_four_eyes_events_made_by_hand_start_nothing(models: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    register(models, 3)
    by_hand, by_export = event(SAVEDMODEL, {"version": 3}), event(SAVEDMODEL, {"version": 3}, BY_EXPORT)
    assert planned(by_hand)["version"] == 3
    monkeypatch.setenv("SNIFFER_FOUR_EYES", "yes")
    with pytest.raises(AirflowSkipException, match="created by hand, and Airflow does not record by whom"):
        planned(by_hand, by_hand)
    assert planned(by_hand, by_export)["version"] == 3
