"""Rollouts that an export has started, made by Airflow's own scheduler of the export's event, up to the approval."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.airflow_people import Person, meanwhile
from support.automatic_runs import create_waiting_event, run_by_events, run_of_nobody, unpaused
from support.dag_runs import connection_of, run, stand_in
from support.facts import FACTS

from sniffer.adapters.mysql.database import Database
from sniffer.core.json_records import json_values
from sniffer.core.model_records import ModelRecord, ModelStatus, PublishedModel

DAG = "rollout_serving"
GOLDEN = {"http://one:8501": {"pixels": 1e-6, "serving_default": 0.001}}
RESULTS: dict[str, dict[str, Any]] = {
    "export": json_values(PublishedModel.at("s3://models/4", replace(FACTS, version=4))),
    "preflight": {"version": 4},
    "load": {"version": 4},
    "verify": {"version": 4, "golden": GOLDEN, "note": "there is no stable version yet"},
    "promote": {"previous_stable": 3, "stable": 4, "previous": 3},
    "restore": {"stable": 3, "previous": 2},
}
PROMOTE = ["promote", "--version=4", "--model-base-path=s3://models"]


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    return tmp_path / "calls"


@pytest.fixture
def settings(
    airflow_database: None, calls: Path, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, str], None]]:
    """Sets SNIFFER_FOUR_EYES and SNIFFER_APPROVE_AUTOMATIC; version 4 is exported and new, and the DAG let run."""
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_MODEL_BASE", "s3://models")
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_TRAINING_DIR", "/var/lib/sniffer")
    stand_in(RESULTS, calls, monkeypatch)
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", connection_of(database_url))
    database.models.register(ModelRecord(4, "4" * 64, "b" * 64, "1", 0.5, ModelStatus.BLESSED))

    def settle(four_eyes: str, approve_automatic: str) -> None:
        monkeypatch.setenv("SNIFFER_FOUR_EYES", four_eyes)
        monkeypatch.setenv("SNIFFER_APPROVE_AUTOMATIC", approve_automatic)

    with unpaused(DAG):
        yield settle


@pytest.mark.slow
def test_with_the_setting_an_automatic_rollout_waits_for_a_person(
    settings: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings("no", "yes")
    run_of_nobody("export_model", monkeypatch, workdir="/w")
    ben = Person("ben")

    def people() -> None:
        question = ben.question(DAG)
        assert "**Requested by:** nobody, an export started this run" in question["body"]
        ben.answer(question, "Approve", "seen")

    with meanwhile(people):
        ended = run_by_events(DAG, monkeypatch)
    assert ended["run_id"].startswith("asset_triggered__")
    assert (ended["run"], ended["states"]["approve"]) == ("success", "success")
    assert ended["results"]["promote"]["argv"] == [*PROMOTE, "--approved-by=ben", "--approval-reason=seen"]


@pytest.mark.slow
def test_a_rejected_automatic_rollout_is_put_back(
    settings: Callable[[str, str], None], calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings("yes", "yes")
    run_of_nobody("export_model", monkeypatch, workdir="/w")
    ben = Person("ben")
    with meanwhile(lambda: ben.answer(ben.question(DAG), "Reject")):
        ended = run_by_events(DAG, monkeypatch)
    assert (ended["run"], ended["states"]["approve"]) == ("failed", "failed")
    assert calls.read_text().split() == ["export", "restore", "preflight", "load", "verify", "restore"]


@pytest.mark.slow
@pytest.mark.parametrize("four_eyes", ["yes", "no"])
def test_without_the_setting_what_nobody_asked_for_becomes_stable_by_itself(
    four_eyes: str, settings: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings(four_eyes, "no")
    run_of_nobody("export_model", monkeypatch, workdir="/w")
    ended = run_by_events(DAG, monkeypatch)
    assert ended["run"] == "success"
    assert ended["results"]["approve"] is None
    assert ended["results"]["promote"]["argv"] == PROMOTE


@pytest.mark.slow
def test_what_somebody_exported_waits_under_four_eyes_for_somebody_else(
    settings: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings("yes", "no")
    run("export_model", workdir="/w")  # by dag_test
    asker, other = Person("dag_test"), Person("ben")

    def people() -> None:
        asker.answer(asker.question(DAG), "Approve")
        other.answer(other.question(DAG), "Approve")

    with meanwhile(people):
        ended = run_by_events(DAG, monkeypatch)
    assert ended["results"]["promote"]["argv"] == [*PROMOTE, "--requested-by=dag_test", "--approved-by=ben"]


def test_an_event_made_by_hand_starts_nothing_under_four_eyes(
    settings: Callable[[str, str], None], calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings("yes", "no")
    create_waiting_event("savedmodel", {"version": 4, "requested_by": []})
    ended = run_by_events(DAG, monkeypatch)
    assert ended["states"]["plan"] == "skipped"
    assert not calls.exists()
