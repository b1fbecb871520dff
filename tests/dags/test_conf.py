"""Runs that nobody started from the form: `plan` checks what their conf and the Variables hold, in every DAG."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowFailException, AirflowRuntimeError
from airflow.sdk.execution_time.comms import ErrorResponse
from sqlalchemy.exc import OperationalError
from support.dag_runs import run, stand_in

from sniffer_airflow.training import tasks as training

DAGS = Path(__file__).parents[2] / "dags"
NEAREST = {
    "scan_bucket": ("consumer", "consumers"),
    "watch_labels": ("new_label", "new_labels"),
    "publish_labels": ("review_label", "review_labels"),
    "retrain_model": ("finetune", "fine_tune"),
    "export_model": ("work_dir", "workdir"),
    "rollout_serving": ("versions", "version"),
    "backfill_bucket": ("nightfrom", "night_from"),
    "measure_recall": ("label", "labels"),
}


@pytest.fixture(autouse=True)
def _variables(airflow_database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_BUCKET", "pics")
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_TRAINING_DIR", "/var/lib/sniffer")
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_MODEL_BASE", "s3://models")
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_RETRAINING", json.dumps({"source": "s3://labels/2026"}))


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a DAG whose `plan` must refuse; what was logged. No program may run but `restore`, which always does."""
    calls = tmp_path / "calls"
    stand_in({"restore": {"stable": None}}, calls, monkeypatch)

    def refused(dag_id: str, **conf: Any) -> str:
        ended = run(dag_id, **conf)
        assert ended["states"]["plan"] == "failed"
        assert not calls.exists() or set(calls.read_text().split()) == {"restore"}
        return "".join(capfd.readouterr())

    return refused


@pytest.mark.sampled(3)
@pytest.mark.parametrize("dag_id", NEAREST)
def test_an_unknown_name_in_the_conf_is_refused_with_the_nearest(dag_id: str, refused: Callable[..., str]) -> None:
    unknown, nearest = NEAREST[dag_id]
    assert f"the form of {dag_id} has no field {unknown} (did you mean {nearest}?)" in refused(
        dag_id, **{unknown: None}
    )


def test_every_dag_is_among_them() -> None:
    assert set(NEAREST) == {dag_id for dag_id, dag in DagBag(DAGS).dags.items() if dag.params}


def test_a_number_that_airflow_lets_through_reaches_no_program(refused: Callable[..., str]) -> None:
    said = refused("retrain_model", capacity=5.0)
    assert "capacity in the form of retrain_model must be a whole number from 1 to 1,000,000,000,000, not 5.0" in said


def test_a_rollout_names_the_variable_that_is_wrong(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_MODEL_BASE", "s3:/models")
    said = refused("rollout_serving", version=3)
    assert "the Variable sniffer_model_base must be a folder, by its absolute path, or s3://bucket/prefix" in said


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("sniffer_retraining", '{"limits": {"workdir": 1}}', "limits in the Variable sniffer_retraining has no field"),
        ("sniffer_retraining", '{"source": 3}', "source in the Variable sniffer_retraining must be a text"),
        ("sniffer_training_dir", "runs", "the Variable sniffer_training_dir must be a folder, by its absolute path"),
        ("sniffer_training_dir", "", "the Variable sniffer_training_dir is not set"),
        ("sniffer_model_base", "models", "the Variable sniffer_model_base must be a folder, by its absolute path, or"),
    ],
)
@pytest.mark.parametrize("plan", [training.plan_of_training, training.plan_of_watch])
def test_a_wrong_variable_is_named_by_plan(
    plan: Any, variable: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AIRFLOW_VAR_{variable.upper()}", value)
    about: Mapping[str, Any] = {}
    if plan is training.plan_of_training:
        run_of_it = SimpleNamespace(dag_id="retrain_model", run_id="r", triggering_user_name=None)
        about = {"dag_run": run_of_it, "triggering_asset_events": {}}
    with pytest.raises(AirflowFailException, match=message):
        plan.function(params={}, **about)


@pytest.mark.parametrize(
    "value", ["{", "[" * 100_000, '{"source": "\\ud800\\u0000", "limits": {"a": NaN}}', "x\x01" * 9]
)
def test_no_variable_takes_a_dag_away(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    for variable in ("SNIFFER_BUCKET", "SNIFFER_PREFIX", "SNIFFER_SCAN", "SNIFFER_RETRAINING"):
        monkeypatch.setenv(f"AIRFLOW_VAR_{variable}", value)
    bag = DagBag(DAGS)
    assert bag.import_errors == {}
    for dag in bag.dags.values():
        stored = json.dumps(DagSerialization.serialize_dag(dag))
        assert not re.search(r"(?<!\\)(\\\\)*\\u(0000|d[89a-f])", stored), "PostgreSQL cannot keep it"


@pytest.mark.parametrize(
    "failure",
    [
        OperationalError("SELECT 1", {}, Exception("secret-1")),  # the metadata database
        AirflowRuntimeError(ErrorResponse(detail={"secret": "secret-1"})),  # the API that stands before it
        PermissionError("secret-1"),  # a secrets backend
        TimeoutError("secret-1"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_what_fails_while_a_form_is_made_takes_no_dag_away_and_is_asked_once_a_form(
    failure: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []

    def fail(name: str, **_: object) -> str:
        asked.append(name)
        raise failure

    monkeypatch.setattr("airflow.sdk.Variable.get", fail)
    bag = DagBag(DAGS)
    # Whether there are sources is what nobody knows: to show none would take them away.
    [(file, message)] = bag.import_errors.items()
    assert file.endswith("scan_sources.py") and "secret-1" not in message
    assert f"Variable sniffer_sources cannot be read at the moment: {type(failure).__name__}" in message
    assert set(bag.dags) == {*NEAREST, "scan_summary"}
    for dag_id, field in (("scan_bucket", "bucket"), ("retrain_model", "source"), ("watch_labels", "new_labels")):
        param: Any = bag.dags[dag_id].params.get_param(field)
        assert "unknown" in param.schema["description_md"] and "at the moment" in param.schema["description_md"]
    forms = ["sniffer_bucket", *["sniffer_retraining"] * 3]
    assert sorted(asked) == [*forms, "sniffer_sources", "sniffer_sources", "sniffer_sources"]
    assert "secret-1" not in caplog.text
