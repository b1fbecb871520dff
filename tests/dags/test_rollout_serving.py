"""The rollout's DAG, run for real but for its steps, for which a stand-in hands on what a test says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.dag_runs import connection_of, events, run, stand_in

from sniffer.adapters.mysql.database import Database
from sniffer.core.model_records import ModelRecord, ModelStatus

GOLDEN = {"http://one:8501": {"pixels": 1e-6, "serving_default": 0.001}}
LATENCY = {
    "http://one:8501": {
        "batch": 8,
        "rounds": 30,
        "candidate": {"median_ms": 51.234, "p95_ms": 60.0},
        "stable": {"median_ms": 50.0, "p95_ms": 61.0},
    }
}
FLIP = {"bucket": "b", "key": "k.jpg", "stable_score": 0.4, "candidate_score": 0.6, "flagged_now": True}
SHADOW = {
    "compared": 200,
    "left_out": {},
    "flagged_by_stable": 41,
    "flagged_by_candidate": 43,
    "flip_share": 0.01,
    "flag_change": 0.01,
    "flag_change_per_night": 100.0,
    "flips": [FLIP],
}
RESULTS = {
    "preflight": {"version": 4},
    "load": {"version": 4},
    "verify": {"version": 4, "stable": 3, "golden": GOLDEN, "latency": LATENCY, "shadow": SHADOW},
    "promote": {"previous_stable": 3, "stable": 4, "previous": 3},
    "restore": {"stable": 3, "previous": 2},
    "rollback": {"former": 4, "stable": 3, "previous": 4},  # as a task of an earlier release has left it
}
STEPS = ("tidy_up", "preflight", "load", "verify", "review", "approve", "promote")


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    return tmp_path / "calls"


@pytest.fixture
def results(airflow_database: None, calls: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_MODEL_BASE", "s3://models")
    return stand_in(RESULTS, calls, monkeypatch)


def test_a_proved_version_becomes_stable_and_is_told(results: Callable[..., None], calls: Path) -> None:
    ended = run("rollout_serving", version=4, limits={"max_flips": 0.5})
    assert ended["run"] == "success"
    states = ended["states"]
    assert {name: states[name] for name in (*STEPS, "announce")} == dict.fromkeys((*STEPS, "announce"), "success")
    assert (states["rollback"], states["restore"]) == ("skipped", "skipped")
    assert calls.read_text().split() == ["restore", "preflight", "load", "verify", "promote"]
    named = ["--version=4", "--model-base-path=s3://models"]
    assert ended["results"]["promote"]["argv"] == ["promote", *named, "--requested-by=dag_test"]
    assert ended["results"]["verify"]["argv"] == ["verify", *named, "--max-flips=0.5"]
    decision = {"requested_by": None, "approved_by": None, "approval_reason": None}  # the stand-in records nothing
    told = {"version": 4, "previous_stable": 3, "previous": 3, "action": "roll out", **decision}
    assert ended["results"]["announce"] == events("serving_model")[-1] == told
    for figure in (
        "What changes with version 4",
        "| | stable version 3 | version 4 |",
        "51.2 ms (median; stable: 50.0 ms)",
        "Different decision on **1.0%**",
        "k.jpg",
    ):
        assert figure in ended["results"]["review"]


@pytest.mark.parametrize("failing", ["load", "verify", "promote"])
def test_a_step_that_fails_puts_the_servers_back_and_the_run_is_red(
    failing: str, results: Callable[..., None], calls: Path
) -> None:
    before = events("serving_model")
    results(**{failing: None})
    forced = failing == "promote"
    ended = run("rollout_serving", version=4, force_conflicts=forced)
    assert ended["run"] == "failed"
    assert (ended["states"][failing], ended["states"]["restore"]) == ("failed", "success")
    assert ended["states"]["announce"] == "upstream_failed"
    assert calls.read_text().split()[-2:] == [failing, "restore"]
    assert ended["results"]["restore"]["argv"] == [
        "restore",
        "--model-base-path=s3://models",
        "--force-conflicts" if forced else "--no-force-conflicts",
    ]
    assert events("serving_model") == before


@pytest.mark.slow
def test_figures_that_cannot_be_read_put_the_servers_back(results: Callable[..., None], calls: Path) -> None:
    results(verify={"version": 4})
    ended = run("rollout_serving", version=4)
    assert (ended["run"], ended["states"]["review"]) == ("failed", "failed")
    assert calls.read_text().split() == ["restore", "preflight", "load", "verify", "restore"]


@pytest.mark.slow
def test_an_announcement_that_fails_takes_nothing_back(results: Callable[..., None], calls: Path) -> None:
    results(promote={"version": 4})
    ended = run("rollout_serving", version=4)
    assert (ended["run"], ended["states"]["announce"]) == ("failed", "failed")
    assert calls.read_text().split() == ["restore", "preflight", "load", "verify", "promote"]


def test_what_preflight_refuses_is_never_loaded(results: Callable[..., None], calls: Path) -> None:
    results(preflight=None)
    ended = run("rollout_serving", version=4)
    assert ended["run"] == "failed"
    assert ended["states"]["load"] == "upstream_failed"
    assert not {"load", "promote"} & set(calls.read_text().split())


def test_a_roll_back_goes_to_the_previous_version_and_restores_only_when_it_fails(
    results: Callable[..., None], calls: Path, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", connection_of(database_url))
    for version in (3, 4):
        database.models.register(ModelRecord(version, f"{version}" * 64, "b" * 64, "1", 0.5, ModelStatus.BLESSED))
        database.models.promote(version)
    ended = run("rollout_serving", action="roll back")
    assert ended["run"] == "success"
    assert calls.read_text().split() == ["rollback"]
    assert ended["results"]["rollback"]["argv"] == [
        "rollback",
        "--version=3",
        "--model-base-path=s3://models",
        "--requested-by=dag_test",
    ]
    assert {ended["states"][name] for name in (*STEPS, "restore")} == {"skipped"}
    assert {name: ended["results"]["announce"].get(name) for name in ("version", "previous_stable", "former")} == {
        "version": 3,
        "previous_stable": 4,
        "former": None,
    }
    results(rollback=None)
    ended = run("rollout_serving", action="roll back")
    assert (ended["run"], ended["states"]["rollback"]) == ("failed", "failed")
    assert calls.read_text().split() == ["rollback", "rollback", "restore"]


def test_it_is_started_by_an_export_and_runs_alone(airflow_database: None) -> None:
    from airflow.dag_processing.dagbag import DagBag
    from support.dag_runs import DAGS

    dag: Any = DagBag(DAGS).dags["rollout_serving"]
    assert dag.max_active_runs == 1
    assert "savedmodel" in str(dag.timetable.asset_condition)
