"""Pods that have outlived their task, deleted by whoever starts the next: asked of Airflow, over a real API."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse
from kubernetes import client
from support.http_server import HttpAnswer, HttpRequest, HttpServer
from support.task_log import TaskLog

from sniffer_airflow.executors.airflow_id import LABEL
from sniffer_airflow.executors.orphans import remove_orphans, those_over
from sniffer_airflow.executors.owner import Owner
from sniffer_airflow.executors.sweeper import DatabaseStates

RUNS = {"night": "running", "marked": "failed", "cleared": "queued"}
TASKS = {("night", "scan"): "running", ("night", "lost"): "failed", ("night", "again"): "up_for_retry"}
SHARDS = ["success", "running", "failed"]
"""States of the instances of a mapped task of that run."""


class Airflow:
    """What Airflow says of runs and tasks."""

    def __init__(self, *, is_away: bool = False) -> None:
        self._is_away = is_away
        self.asked = 0

    def get_dr_count(self, dag_id: str, *, run_ids: list[str], states: list[str]) -> int:
        """As RuntimeTaskInstance."""
        self.asked += 1
        if self._is_away:
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR))
        return sum(RUNS.get(run_id) in states for run_id in run_ids)

    def get_task_states(
        self, dag_id: str, *, task_ids: list[str], run_ids: list[str]
    ) -> Mapping[str, Mapping[str, str]]:
        """As RuntimeTaskInstance."""
        self.asked += 1
        [run_id] = run_ids
        found = {name: state for (run, name), state in TASKS.items() if run == run_id and name in task_ids}
        if run_id == "night" and "shard" in task_ids:
            found |= {f"shard_{index}": state for index, state in enumerate(SHARDS)}
        return {run_id: found}


class Pods(HttpServer):
    """A namespace with pods, by name; those that are deleted are gone."""

    def __init__(self) -> None:
        self.pods: dict[str, dict[str, Any]] = {}
        self.status = 200
        super().__init__()

    def add(self, name: str, *, owner: Owner | None = None, airflow_id: str = "mine", **metadata: str) -> None:
        notes = owner.annotations if owner else {}
        labels = {LABEL: airflow_id} if airflow_id else {}
        self.pods[name] = {"metadata": {"name": name, "annotations": notes, "labels": labels, **metadata}}

    def respond(self, request: HttpRequest) -> HttpAnswer:
        path, _, query = request.path.partition("?")
        if request.method == "DELETE":
            if self.pods.pop(path.rpartition("/")[2]).get("metadata", {}).get("uid") == "gone":
                return HttpAnswer(404, b"{}", [("Content-Type", "application/json")])
        else:
            assert query == "labelSelector=kubernetes_pod_operator%3DTrue"
        found = {"kind": "PodList", "items": list(self.pods.values())}
        return HttpAnswer(self.status, json.dumps(found).encode(), [("Content-Type", "application/json")])


@pytest.fixture
def pods() -> Iterator[Pods]:
    with Pods() as server:
        yield server


def clean(pods: Pods, *, is_away: bool = False, airflow: Airflow | None = None) -> TaskLog:
    log = TaskLog()
    api = client.CoreV1Api(client.ApiClient(client.Configuration(host=pods.url)))
    remove_orphans(api, "sniffer", airflow or Airflow(is_away=is_away), log, "mine")
    return log


def test_pods_of_tasks_that_are_over_are_deleted_and_no_others(pods: Pods) -> None:
    for run_id, task_id in (("marked", "scan"), ("cleared", "scan"), ("unknown", "scan"), *TASKS):
        pods.add(f"{run_id}-{task_id}", owner=Owner("scan_bucket", run_id, task_id))
    for index in range(len(SHARDS)):
        pods.add(f"night-shard-{index}", owner=Owner("scan_bucket", "night", "shard", index))
    pods.add("night-shard", owner=Owner("scan_bucket", "night", "shard"))  # by a release that did not say which
    pods.add("of-somebody-else")
    pods.add("leaving", owner=Owner("scan_bucket", "marked", "scan"), deletionTimestamp="2026-11-05T00:00:00Z")
    log = clean(pods)
    assert set(pods.pods) == {
        "cleared-scan",
        "unknown-scan",
        "night-scan",
        "night-again",
        "night-shard",
        "night-shard-1",
        "of-somebody-else",
        "leaving",
    }
    assert [text for _, text in log.records] == [
        "Deleting pod marked-scan: task scan of run marked is over",
        "Deleting pod night-lost: task lost of run night is over",
        "Deleting pod night-shard-0: task shard_0 of run night is over",
        "Deleting pod night-shard-2: task shard_2 of run night is over",
    ]


def test_pods_of_another_airflow_are_let_alone_and_those_of_an_earlier_release_are_not(pods: Pods) -> None:
    for airflow_id in ("mine", "another", ""):
        for run_id in ("marked", "night"):
            pods.add(f"{run_id}-{airflow_id}", owner=Owner("scan_bucket", run_id, "scan"), airflow_id=airflow_id)
    clean(pods)
    assert set(pods.pods) == {"marked-another", "night-mine", "night-another", "night-"}


def test_airflow_is_asked_about_a_run_once_however_many_pods_it_has(pods: Pods) -> None:
    airflow = Airflow()
    for index in range(100):
        pods.add(f"night-shard-{index}", owner=Owner("scan_bucket", "night", "shard", index))
        pods.add(f"marked-shard-{index}", owner=Owner("scan_bucket", "marked", "shard", index))
    pods.add("night-scan", owner=Owner("scan_bucket", "night", "scan"))
    clean(pods, airflow=airflow)
    assert len(pods.pods) == 99 and airflow.asked == 3


def test_a_pod_that_is_gone_meanwhile_keeps_no_other(pods: Pods) -> None:
    for number in range(3):
        pods.add(f"pod-{number}", owner=Owner("scan_bucket", "marked", "scan"), uid="gone" if number == 0 else "there")
    assert [level for level, text in clean(pods).records if "cannot" in text] == []
    assert pods.pods == {}


def test_a_failure_is_a_line_in_the_log(pods: Pods) -> None:
    pods.add("marked-scan", owner=Owner("scan_bucket", "marked", "scan"))
    (record,) = clean(pods, is_away=True).records
    assert record[1].startswith("Airflow does not say which pods have outlived their task: API_SERVER_ERROR")
    pods.status = 403
    (record,) = clean(pods).records
    assert record[1] == "Pods that have outlived their task cannot be deleted: 403 Forbidden"


DAG_FILE = """
from airflow.sdk import dag, task
from sniffer_airflow.executors.orphans import those_over
from sniffer_airflow.executors.owner import Owner

def is_over(owner, ti):
    return bool(those_over([owner], ti))

@dag(schedule=None)
def owners():
    @task
    def before():
        pass

    @task
    def each(number, ti=None, run_id=None):
        owner = Owner.of({"ti": ti, "run_id": run_id})
        assert owner == Owner("owners", run_id, "each", number)
        assert not is_over(owner, ti)

    @task
    def ask(run_id=None, ti=None):
        assert Owner.of({"ti": ti, "run_id": run_id}) == Owner("owners", run_id, "ask")
        asked = [("before", run_id), ("ask", run_id), ("ask", "unknown"), ("ask", "earlier")]
        mapped = [is_over(Owner("owners", run_id, "each", number), ti) for number in range(3)]
        return [is_over(Owner("owners", run, name), ti) for name, run in asked] + mapped

    [before(), each.expand(number=[0, 1])] >> ask()

owners()
"""


def test_airflow_tells_which_tasks_are_over(airflow_database: None, tmp_path: Path) -> None:
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunType

    (tmp_path / "owners.py").write_text(DAG_FILE)
    bag = DagBag(tmp_path, bundle_name="dags-folder")
    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    sync_bag_to_db(bag, "dags-folder", None)
    dag = bag.dags["owners"]
    with create_session() as session:
        session.add(DagRun("owners", run_id="earlier", run_type=DagRunType.MANUAL, state=DagRunState.FAILED))
    ended = dag.test()
    # The sweeper asks the database itself, once the run is over.
    states = DatabaseStates()
    over = [Owner("owners", ended.run_id, "each", 1), Owner("owners", "earlier", "x")]
    assert those_over([*over, Owner("owners", "unknown", "each")], states) == set(over)
    found = states.get_task_states("owners", task_ids=["each", "before"], run_ids=[ended.run_id])
    assert found == {ended.run_id: {"before": "success", "each_0": "success", "each_1": "success"}}
    assert ended.get_task_instance("ask").xcom_pull(task_ids="ask") == [True, False, False, True, True, True, False]
