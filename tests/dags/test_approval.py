"""Who asks is not who approves: the rollout's DAG with people who answer by Airflow's own API, under their own names.

`dag_test` is the name of the user that Airflow gives to a run of `DAG.test()`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.airflow_people import Person, meanwhile
from support.dag_runs import connection_of, run, stand_in
from support.judged import gate_verdict

from sniffer.adapters.mysql.database import Database
from sniffer.core.gate_records import Check
from sniffer.core.model_records import ModelRecord, ModelStatus

GOLDEN = {"http://one:8501": {"pixels": 1e-6, "serving_default": 0.001}}
RESULTS: dict[str, dict[str, Any]] = {
    "preflight": {"version": 4},
    "load": {"version": 4},
    "verify": {"version": 4, "golden": GOLDEN, "note": "there is no stable version yet"},
    "promote": {"previous_stable": 3, "stable": 4, "previous": 3},
    "restore": {"stable": 3, "previous": 2},
}
DAG = "rollout_serving"
PROMOTE = ["promote", "--version=4", "--model-base-path=s3://models", "--requested-by=dag_test"]


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    return tmp_path / "calls"


@pytest.fixture
def results(
    airflow_database: None, calls: Path, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_MODEL_BASE", "s3://models")
    change = stand_in(RESULTS, calls, monkeypatch)
    monkeypatch.setenv("AIRFLOW_CONN_MYSQL_DEFAULT", connection_of(database_url))
    monkeypatch.setenv("SNIFFER_FOUR_EYES", "yes")
    register(database)
    return change


def register(database: Database, *, version: int = 4, **verdict: Any) -> None:
    record = ModelRecord(version, f"{version}" * 64, "b" * 64, "1", 0.5, ModelStatus.BLESSED)
    database.models.register(record, verdict=replace(gate_verdict(), **verdict))


def test_only_somebody_else_approves_and_it_is_recorded_who_and_why(results: Callable[..., None], calls: Path) -> None:
    asker, other = Person("dag_test"), Person("ben")

    def people() -> None:
        question = asker.question(DAG)
        assert "anybody but dag\\_test, whose approval does not count" in question["body"]
        asker.answer(question, "Approve", "I am sure")
        other.answer(other.question(DAG), "Approve", "figures hold")

    with meanwhile(people):
        ended = run(DAG, version=4)
    assert ended["run"] == "success"
    assert ended["results"]["promote"]["argv"] == [*PROMOTE, "--approved-by=ben", "--approval-reason=figures hold"]
    assert calls.read_text().split() == ["restore", "preflight", "load", "verify", "promote"]


def test_whoever_asked_may_take_it_back(results: Callable[..., None], calls: Path) -> None:
    asker = Person("dag_test")
    with meanwhile(lambda: asker.answer(asker.question(DAG), "Reject", "too early")):
        ended = run(DAG, version=4)
    assert (ended["run"], ended["states"]["approve"]) == ("failed", "failed")
    assert calls.read_text().split()[-1] == "restore"
    assert "promote" not in calls.read_text().split()


def test_the_question_tells_who_overrode_the_gate_and_cannot_approve_and_its_words(
    results: Callable[..., None], database: Database
) -> None:
    register(
        database,
        version=5,
        overridden_by="cleo",
        override_reason="the *only* one",
        checks=(Check("a rule", True, "few images of | mules", warning=True),),
    )
    results(verify={**RESULTS["verify"], "version": 5})
    ben = Person("ben")

    def people() -> None:
        # That cleo's own approval would not count is the rule that the first test runs, for whoever asked.
        question = ben.question(DAG)
        for words in (
            "[version 5, rejected by the gate and accepted by a person, with 1 warning of the gate](",
            "**The gate rejected this version; cleo accepted it:** the \\*only\\* one",
            "* few images of \\| mules",
            "anybody but dag\\_test and cleo",
        ):
            assert words in question["body"]
        ben.answer(question, "Approve")

    with meanwhile(people):
        ended = run(DAG, version=5)
    assert ended["run"] == "success"
    assert ended["results"]["promote"]["argv"][-1] == "--approved-by=ben"


def test_marking_the_approval_as_successful_is_no_approval(results: Callable[..., None], calls: Path) -> None:
    ended = run(DAG, version=4, marked_as_success="approve")
    assert ended["run"] == "failed"
    states = {name: ended["states"][name] for name in ("approve", "promote", "restore")}
    assert states == {"approve": "success", "promote": "failed", "restore": "success"}
    assert "promote" not in calls.read_text().split()


def test_without_four_eyes_whoever_asked_may_approve(
    results: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNIFFER_FOUR_EYES", "no")
    asker = Person("dag_test")
    with meanwhile(lambda: asker.answer(asker.question(DAG), "Approve")):
        ended = run(DAG, version=4, approval=True)
    assert ended["results"]["promote"]["argv"] == [*PROMOTE, "--approved-by=dag_test"]
