"""No task is believed by its state: a program that is successful for Airflow, and has handed nothing on, ends the run.

As when it was killed (apache/airflow issue 73006). Every program task of every DAG, each marked so in its turn.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from support.dag_runs import DAGS, events, run, stand_in
from support.judged import gate_verdict, model_metrics

from sniffer.core.json_records import json_values
from sniffer_airflow.names import RETRAIN_DAG, ROLLOUT_DAG, SCAN_DAG

FORMS: dict[str, dict[str, Any]] = {
    RETRAIN_DAG: {"source": "s3://labels/2026"},
    "export_model": {"workdir": "/var/lib/sniffer/runs/1"},
    "watch_labels": {"source": "s3://labels/2026"},
    "publish_labels": {"review_labels": "s3://labels/2026/part-review.csv"},
    ROLLOUT_DAG: {"version": 4},
    SCAN_DAG: {"bucket": "pics"},
    "backfill_bucket": {"bucket": "pics"},
    "measure_recall": {},
}
BELIEVED = [
    *((RETRAIN_DAG, step) for step in ("snapshot", "train", "evaluate", "gate")),
    ("export_model", "export"),
    ("watch_labels", "count_labels"),
    ("publish_labels", "publish"),
    *((ROLLOUT_DAG, step) for step in ("tidy_up", "preflight", "load", "verify", "promote")),
    (SCAN_DAG, "shards"),
    *(("backfill_bucket", step) for step in ("cut", "estimate")),
    *(("measure_recall", step) for step in ("draw", "measure")),
]
NOT_BELIEVED_BY_OTHERS = {
    (ROLLOUT_DAG, "rollback"): "announce reads its result, as that of promote",
    (ROLLOUT_DAG, "restore"): "runs only where the run has failed already, and ends it so",
    (SCAN_DAG, "scan"): "certify reads the certificate in MySQL: test_scan_bucket.py",
    (SCAN_DAG, "scan_backfill"): "scan under another name, in another pool",
    ("backfill_bucket", "shards"): "the same program as scan_bucket's, and the same tasks after it",
    ("backfill_bucket", "scan"): "the same",
}


@pytest.fixture
def programs(airflow_database: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs that all succeed; the file has the name of each that ran."""
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_TRAINING_DIR", "/var/lib/sniffer")
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_MODEL_BASE", "s3://models")
    results = {
        "snapshot": {},
        "train": {},
        "evaluate": json.loads(json.dumps(json_values(model_metrics().summary()))),
        "gate": {**json_values(gate_verdict()), "version": 3, "stable_version": 2},
        "preflight": {"version": 4},
        "load": {"version": 4},
        "verify": {"version": 4},
        "restore": {"stable": 3, "previous": 2},
        "draw": {"model_version": 3, "threshold": 0.5, "samples": [], "left_out": []},
        "measure": {"model_version": 3, "threshold": 0.5, "measured": [], "drift": [], "alarms": [], "missing": "none"},
    }
    stand_in(results, tmp_path / "calls", monkeypatch)
    return tmp_path / "calls"


@pytest.mark.slow  # a run of a DAG each; what refuses is tested alone in plugins/executors/test_proof.py
@pytest.mark.parametrize(("dag_id", "step"), BELIEVED)
def test_a_program_that_only_its_state_calls_successful_ends_the_run(dag_id: str, step: str, programs: Path) -> None:
    assets = ("blessed_model", "savedmodel", "labelled_images", "serving_model", "scanned_images")
    before = {asset: events(asset) for asset in assets}
    ended = run(dag_id, marked_as_success=f"^{step}$", **FORMS[dag_id])
    assert ended["run"] == "failed", ended["states"]
    assert ended["states"][step] in ("success", "upstream_failed")
    assert {asset: events(asset) for asset in assets} == before
    called = programs.read_text().split() if programs.exists() else []
    steps = [name for one, name in BELIEVED if one == dag_id]
    assert not set(steps[steps.index(step) :]) & set(called)


def test_every_program_of_every_dag_is_among_them(airflow_database: None) -> None:
    found = {
        (dag_id, task.task_id)
        for dag_id, dag in DagBag(DAGS).dags.items()
        for task in dag.tasks
        if isinstance(getattr(task, "module", None) or getattr(task, "partial_kwargs", {}).get("module"), str)
    }
    assert found == {*BELIEVED, *NOT_BELIEVED_BY_OTHERS}
