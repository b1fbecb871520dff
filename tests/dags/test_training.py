"""The training DAGs, run for real but for their programs, for which a stand-in hands on what a test says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import ParamValidationError
from support.dag_runs import create_event, events, run, stand_in
from support.facts import FACTS
from support.judged import gate_verdict, model_metrics

from sniffer.core.json_records import json_values
from sniffer.core.model_records import PublishedModel

DAGS = Path(__file__).parents[2] / "dags"

METRICS = json.loads(json.dumps(json_values(model_metrics().summary())))
BLESSED = {**json_values(gate_verdict()), "version": 3, "stable_version": 2}
HEADLINE = ("pr_auc", "roc_auc", "precision", "recall", "night", "intervals")
PUBLISHED = PublishedModel.at("s3://models/3", replace(FACTS, version=3, decoder_difference=0.02))
RESULTS = {
    "snapshot": {"manifest_digest": "m" * 64},
    "train": {},
    "evaluate": METRICS,
    "gate": BLESSED,
    "export": json_values(PUBLISHED),
}
RETRAINING = {"source": "s3://labels/2026", "backbone_weights": "/weights.h5", "prevalence": 0.002, "new_labels": 100}


@pytest.fixture
def results(airflow_database: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what the programs hand on; a program without a result fails with exit status 2."""
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_TRAINING_DIR", "/var/lib/sniffer")
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_MODEL_BASE", "s3://models")
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_RETRAINING", json.dumps(RETRAINING))
    return stand_in(RESULTS, tmp_path / "calls", monkeypatch)


def test_a_blessed_model_is_told_with_digests_figures_and_reserved_version(results: Callable[..., None]) -> None:
    ended = run("retrain_model", capacity=300)
    assert ended["run"] == "success"
    assert set(ended["states"].values()) == {"success"}
    workdir = f"/var/lib/sniffer/runs/retrain_model.{ended['run_id']}"
    told = ended["results"]["bless"]
    assert events("blessed_model")[-1] == told
    assert (told["workdir"], told["version"], told["manifest_digest"]) == (workdir, 3, "m" * 64)
    assert told["metrics"] == {name: METRICS["test"][name] for name in HEADLINE}
    assert told["threshold"] == METRICS["threshold"]
    at, cache = f"--workdir={workdir}", "--feature-cache=/var/lib/sniffer/features"
    assert ended["results"]["snapshot"]["argv"] == [
        at,
        "--source=s3://labels/2026",
        "--lineage=/var/lib/sniffer/lineage.json",
    ]
    assert ended["results"]["train"]["argv"] == [at, cache, "--backbone-weights=/weights.h5"]
    assert ended["results"]["evaluate"]["argv"] == [at, cache, "--prevalence=0.002", "--capacity=300"]
    assert ended["results"]["gate"]["argv"] == [at, cache, "--model-base-path=s3://models"]


def test_a_rejected_candidate_alarms_nobody_and_is_told_nobody(results: Callable[..., None]) -> None:
    before = events("blessed_model")
    results(gate={**BLESSED, "blessed": False, "reasons": ["PR-AUC 0.7 is below 0.8", "recall 0"]})
    ended = run("retrain_model")
    assert ended["run"] == "success"
    assert ended["states"] == {
        **dict.fromkeys(("plan", "snapshot", "train", "evaluate", "gate"), "success"),
        "bless": "skipped",
    }
    assert ended["results"]["gate"]["reasons"] == ["PR-AUC 0.7 is below 0.8", "recall 0"]
    assert events("blessed_model") == before


def test_a_verdict_without_a_version_or_of_another_form_blesses_nothing(results: Callable[..., None]) -> None:
    before = events("blessed_model")
    for verdict in ({**BLESSED, "version": None}, {"version": 3, "blessed": True}):
        results(gate=verdict)
        ended = run("retrain_model")
        assert (ended["run"], ended["states"]["bless"]) == ("failed", "failed")
    assert events("blessed_model") == before


def test_a_step_that_fails_fails_the_run_and_nothing_after_it_runs(results: Callable[..., None]) -> None:
    results(train=None)
    ended = run("retrain_model")
    assert ended["run"] == "failed"
    assert (ended["states"]["train"], ended["states"]["evaluate"]) == ("failed", "upstream_failed")
    assert ended["states"]["bless"] == "upstream_failed"


def test_an_override_is_that_of_the_user_who_triggered_the_run(results: Callable[..., None]) -> None:
    ended = run("retrain_model", override_reason="the only one", limits={"min_recall": 0.5})
    assert ended["results"]["gate"]["argv"][-3:] == [
        "--min-recall=0.5",
        "--override-by=dag_test",
        "--override-reason=the only one",
    ]


def test_a_typed_name_overrides_nothing(results: Callable[..., None]) -> None:
    ended = run("retrain_model", override_by="Ana", override_reason="the only one")
    assert (ended["run"], ended["states"]["plan"], ended["states"]["gate"]) == ("failed", "failed", "upstream_failed")


def test_events_that_say_nothing_block_no_export_and_are_not_taken(results: Callable[..., None]) -> None:
    blessed = run("retrain_model")["results"]["bless"]
    assert blessed["requested_by"] == ["dag_test"]
    by_hand = {"workdir": "/nowhere", "version": 9}
    for extra in ({}, {"from_rest_api": True}, {"workdir": 7, "version": 3}, {"workdir": " ", "version": 3}, by_hand):
        create_event("blessed_model", extra)
    ended = run("export_model")
    assert ended["run"] == "success"
    assert ended["results"]["export"]["argv"][0] == f"--workdir={blessed['workdir']}"
    assert ended["results"]["announce_savedmodel"]["requested_by"] == ["dag_test"]


def test_a_missing_variable_fails_the_plan(results: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_VAR_SNIFFER_TRAINING_DIR")
    ended = run("retrain_model")
    assert ended["states"]["plan"] == "failed"
    assert ended["states"]["snapshot"] == "upstream_failed"


def test_the_newest_blessed_model_is_exported_and_told(results: Callable[..., None]) -> None:
    blessed = run("retrain_model")["results"]["bless"]
    ended = run("export_model")
    assert ended["run"] == "success"
    assert ended["results"]["export"]["argv"] == [f"--workdir={blessed['workdir']}", "--model-base-path=s3://models"]
    told = ended["results"]["announce_savedmodel"]
    assert told["version"] == 3
    assert told == events("savedmodel")[-1]
    assert told["path"] == "s3://models/3"


def test_a_workdir_of_the_form_is_exported_instead(results: Callable[..., None]) -> None:
    ended = run("export_model", workdir="/var/lib/sniffer/runs/older")
    assert ended["results"]["export"]["argv"][0] == "--workdir=/var/lib/sniffer/runs/older"


def test_an_export_that_fails_tells_of_no_version(results: Callable[..., None]) -> None:
    run("retrain_model")
    before = events("savedmodel")
    results(export=None)
    ended = run("export_model")
    assert (ended["run"], ended["states"]["announce_savedmodel"]) == ("failed", "upstream_failed")
    assert events("savedmodel") == before


@pytest.mark.parametrize(("new", "state"), [(99, "skipped"), (100, "success")])
def test_enough_new_labels_start_a_retraining(new: int, state: str, results: Callable[..., None]) -> None:
    before = events("labelled_images")
    results(count_labels={"labelled": 5000, "new": new})
    ended = run("watch_labels")
    assert (ended["run"], ended["states"]["announce_labels"]) == ("success", state)
    assert ended["results"]["count_labels"]["argv"] == [
        "--source=s3://labels/2026",
        "--lineage=/var/lib/sniffer/lineage.json",
    ]
    told = events("labelled_images")[len(before) :]
    assert told == (
        [{"labelled": 5000, "new": new, "source": "s3://labels/2026", "requested_by": ["dag_test"]}]
        if state == "success"
        else []
    )


def test_what_starts_what(airflow_database: None) -> None:
    dags = DagBag(DAGS).dags
    starts = {
        dag_id: [uri.name for uri, _ in dag.timetable.asset_condition.iter_assets()]
        for dag_id, dag in scheduled(dags).items()
        if dag.timetable.asset_condition
    }
    assert starts["retrain_model"] == ["labelled_images"]
    assert starts["export_model"] == ["blessed_model"]
    assert dags["retrain_model"].max_active_runs == 1


def scheduled(dags: Any) -> dict[str, Any]:
    """The DAGs as the scheduler sees them."""
    from airflow.serialization.serialized_objects import DagSerialization

    return {
        dag_id: DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag)) for dag_id, dag in dags.items()
    }


def test_unpausing_starts_no_run_that_was_missed(airflow_database: None) -> None:
    from airflow.timetables.base import TimeRestriction

    for dag_id in ("retrain_model", "watch_labels"):
        timetable = scheduled(DagBag(DAGS).dags)[dag_id].timetable
        info = timetable.next_dagrun_info(
            last_automated_data_interval=None, restriction=TimeRestriction(None, None, catchup=False)
        )
        assert info.run_after > datetime.now(UTC), dag_id


@pytest.mark.parametrize(
    "form",
    [
        {"prevalence": 0},
        {"prevalence": 1},
        {"nightly_volume": 0},
        {"capacity": -1},
        {"target_precision": 1.5},
        {"limits": "min_recall"},
        {"limits": {"min_recal": 0.8}},
        {"limits": {"min_recall": -1}},
        {"fine_tune": "perhaps"},
    ],
)
def test_the_form_refuses_what_a_field_cannot_be(form: dict[str, Any], airflow_database: None) -> None:
    [(name, value)] = form.items()
    with pytest.raises(ParamValidationError):
        DagBag(DAGS).dags["retrain_model"].params.get_param(name).resolve(value)
