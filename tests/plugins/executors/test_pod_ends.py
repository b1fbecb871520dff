"""However a task in a pod ends: no pod and no process is left, nothing false is taken for success, work is done once.

Airflow's own operator against a namespace over HTTP whose pods are real processes.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.cncf.kubernetes.utils import pod_manager
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
    AirflowTaskTimeout,
)
from airflow.sdk.execution_time.timeout import TimeoutPosix
from support.http_server import HttpRequest
from support.pod_cluster import PodCluster, RunningPod
from support.programs import eventually
from support.task_context import TaskInstance, TaskStateStore, task_context

from sniffer_airflow.executors import earlier_pods
from sniffer_airflow.executors.airflow_id import LABEL
from sniffer_airflow.executors.patient_client import PatientClient
from sniffer_airflow.executors.pod import PodProgramOperator

PROGRAMS = Path(__file__).parent / "programs"


class QuickTime:
    """Airflow's polls, a twentieth as long."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / 20)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PodCluster]:
    monkeypatch.setattr(pod_manager, "time", QuickTime())
    monkeypatch.setattr(earlier_pods, "_POLL_S", 0.02)
    with PodCluster(tmp_path, {"PYTHONPATH": str(PROGRAMS)}) as found:
        yield found


Starts = Callable[..., PodProgramOperator]


@pytest.fixture
def operator(cluster: PodCluster, monkeypatch: pytest.MonkeyPatch) -> Starts:
    """Makes the operator of a task, whose pod runs the stand-in program with those words."""

    class Hook:
        core_v1_client = cluster.api()
        is_in_cluster = True

        def __getattr__(self, name: str) -> Any:
            return lambda: None

    monkeypatch.setattr(PodProgramOperator, "hook", Hook())

    def make(*words: str) -> PodProgramOperator:
        made = PodProgramOperator(task_id="scan", module="sniffer.pretend", arguments=list(words))
        made.cmds = ["python", "-m", "pretend"]
        made.startup_check_interval_seconds = 0
        return made

    return make


STAYS = "--family={}/family"
"""The program stays, with children in sessions of their own."""


def when_it_runs(cluster: PodCluster, then: Callable[[RunningPod], object]) -> threading.Thread:
    """Do that as soon as the program of the newest pod runs with its children."""

    def wait() -> None:
        eventually(lambda: cluster.created and (cluster.folder / "family").exists(), "its program runs", 20)
        then(cluster.created[-1])

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def assert_nothing_is_left(cluster: PodCluster) -> None:
    eventually(lambda: not cluster.orphans(), f"nothing is left of {cluster.orphans()}", 20)


def test_a_result_of_this_very_task_is_handed_on_and_the_pod_deleted(cluster: PodCluster, operator: Starts) -> None:
    result = operator("--say=hello").execute(task_context())
    assert result["holds"] is True and "result_of" not in result
    assert_nothing_is_left(cluster)


def test_marked_failed_or_cleared_ends_the_pod_and_is_never_a_success(cluster: PodCluster, operator: Starts) -> None:
    task = operator(STAYS.format(cluster.folder))
    when_it_runs(cluster, lambda _: task.on_kill())
    # No AirflowFailException, which no restart of a scheduler would retry.
    with pytest.raises(AirflowException, match=r"^sniffer\.pretend was stopped by Airflow$") as raised:
        task.execute(task_context())
    assert type(raised.value) is AirflowException
    assert_nothing_is_left(cluster)


def test_stopped_while_the_pod_is_being_created_leaves_none(cluster: PodCluster, operator: Starts) -> None:
    task = operator(STAYS.format(cluster.folder))
    cluster.on_create = lambda _: task.on_kill()
    with pytest.raises(AirflowException, match="was stopped by Airflow"):
        task.execute(task_context())
    assert len(cluster.created) == 1
    assert_nothing_is_left(cluster)


@pytest.mark.slow
def test_stopped_when_the_program_has_just_ended_is_no_failure_for_good(cluster: PodCluster, operator: Starts) -> None:
    task = operator()

    def stop_at_the_log(request: HttpRequest) -> int:
        if "/log?" in request.path:
            task.on_kill()
        return 0

    cluster.away = stop_at_the_log
    with pytest.raises(AirflowException, match="was stopped by Airflow") as raised:
        task.execute(task_context())
    assert type(raised.value) is AirflowException
    assert_nothing_is_left(cluster)


def test_timed_out_ends_the_pod(cluster: PodCluster, operator: Starts) -> None:
    task = operator(STAYS.format(cluster.folder))
    when_it_runs(cluster, lambda _: os.kill(os.getpid(), signal.SIGALRM))
    with pytest.raises(AirflowTaskTimeout), TimeoutPosix(60):  # type: ignore[no-untyped-call]
        task.execute(task_context())
    assert_nothing_is_left(cluster)


def test_timed_out_before_airflow_has_looked_at_the_pod_once_ends_it_too(cluster: PodCluster, operator: Starts) -> None:
    task = operator(STAYS.format(cluster.folder))
    cluster.on_create = lambda _: os.kill(os.getpid(), signal.SIGALRM)
    with pytest.raises(AirflowTaskTimeout), TimeoutPosix(60):  # type: ignore[no-untyped-call]
        task.execute(task_context())
    assert_nothing_is_left(cluster)


def abandon(task: PodProgramOperator, ti: TaskInstance, store: TaskStateStore) -> None:
    """Start its pod, as a worker does that is killed just after."""
    context = task_context(ti, store)
    task.get_or_create_pod(task.build_pod_request_obj(context), context)


def test_a_retry_after_the_worker_s_death_follows_the_same_pod(cluster: PodCluster, operator: Starts) -> None:
    store = TaskStateStore()
    abandon(operator("--say=once"), TaskInstance(map_index=3), store)
    result = operator("--say=once").execute(task_context(TaskInstance(map_index=3, try_number=2), store))
    assert result["holds"] is True and len(cluster.created) == 1
    assert_nothing_is_left(cluster)


def test_the_pod_of_another_airflow_with_the_same_names_is_let_alone(
    cluster: PodCluster, operator: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both run `scan_bucket` each night, with equal ids of runs; here the other one's task stays."""
    with monkeypatch.context() as patched:
        patched.setenv("AIRFLOW_VAR_SNIFFER_AIRFLOW_ID", "another")
        abandon(operator("--say=once", STAYS.format(cluster.folder)), TaskInstance(), TaskStateStore())
    result = operator("--say=once").execute(task_context(TaskInstance(run_states={"night": "running"})))
    [other, own] = cluster.created
    assert result["holds"] is True and list(cluster.pods) == [other.name] and other.family()
    assert "deletionTimestamp" not in other.document["metadata"] and own.name != other.name


def test_the_pod_of_an_earlier_release_is_followed_and_becomes_this_airflow_s(
    cluster: PodCluster, operator: Starts
) -> None:
    store = TaskStateStore()
    abandon(operator("--say=once"), TaskInstance(), store)
    [pod] = cluster.created
    assert pod.document["metadata"]["labels"].pop(LABEL) == "of-the-tests"
    result = operator("--say=once").execute(task_context(TaskInstance(try_number=2), store))
    assert result["holds"] is True and cluster.created == [pod]
    assert pod.document["metadata"]["labels"][LABEL] == "of-the-tests"
    assert_nothing_is_left(cluster)


def test_a_pod_that_does_something_else_ends_before_its_successor_begins(cluster: PodCluster, operator: Starts) -> None:
    """As after `shards` was cleared: an instance with the same index has another shard."""
    store = TaskStateStore()
    abandon(operator("--say=shard 4", STAYS.format(cluster.folder)), TaskInstance(map_index=3), store)
    result = operator("--say=shard 7").execute(task_context(TaskInstance(map_index=3, try_number=2), store))
    assert "--say=shard 7" in result["argv"]
    assert len(cluster.created) == 2 and cluster.most_at_once == 1
    assert_nothing_is_left(cluster)


def test_a_pod_that_is_ending_is_waited_for_and_not_followed(cluster: PodCluster, operator: Starts) -> None:
    """As after a task was cleared: its pod has its grace yet."""
    store = TaskStateStore()
    abandon(operator(STAYS.format(cluster.folder)), TaskInstance(), store)
    cluster.delete(cluster.created[0].name, grace_s=0.5)
    (cluster.folder / "family").write_text("not this time")
    again = operator("--say=again")
    again.execute(task_context(TaskInstance(try_number=2), store))
    assert len(cluster.created) == 2 and cluster.most_at_once == 1
    assert_nothing_is_left(cluster)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("how", ["evict", "vanish", "delete"])
def test_a_pod_that_is_taken_away_is_replaced_without_a_retry(how: str, cluster: PodCluster, operator: Starts) -> None:
    store = TaskStateStore()
    task = operator(STAYS.format(cluster.folder))
    when_it_runs(cluster, lambda pod: getattr(cluster, how)(pod.name))
    with pytest.raises(AirflowRescheduleException):
        task.execute(task_context(store=store))
    assert store.get("lost_pods") == {"try": 1, "count": 1}
    assert_nothing_is_left(cluster)


@pytest.mark.slow
def test_a_program_that_fails_by_itself_is_a_retry(cluster: PodCluster, operator: Starts) -> None:
    with pytest.raises(AirflowException) as raised:
        operator("--exit-status=1").execute(task_context())
    assert type(raised.value) is AirflowException
    assert_nothing_is_left(cluster)


@pytest.mark.slow
def test_success_without_a_result_is_a_failure(cluster: PodCluster, operator: Starts) -> None:
    with pytest.raises(AirflowFailException, match="succeeded but wrote no JSON object to its --result file"):
        operator("--no-report").execute(task_context())
    assert_nothing_is_left(cluster)


def test_the_result_of_another_run_is_not_taken(cluster: PodCluster, operator: Starts) -> None:
    cluster.environ["SNIFFER_RESULT_OF"] = "scan_bucket/yesterday/scan"
    with pytest.raises(
        AirflowException, match="is that of scan_bucket/yesterday/scan, and scan_bucket/night/scan"
    ) as e:
        operator().execute(task_context())
    assert not isinstance(e.value, AirflowFailException)
    assert_nothing_is_left(cluster)


def test_a_pod_whose_creation_was_not_answered_is_found_not_doubled(cluster: PodCluster, operator: Starts) -> None:
    def lose_the_first_answer(request: HttpRequest) -> int:
        return 500 if request.method == "ANSWER" and len(cluster.created) == 1 else 0

    cluster.away = lose_the_first_answer
    task = operator()
    # What the API server may have done is asked for again after a pause, which passes at once here.
    task.client.api_client._sleep = lambda _seconds: None
    assert isinstance(task.client.api_client, PatientClient)
    assert task.execute(task_context())["holds"] is True
    assert len(cluster.created) == 1
    assert_nothing_is_left(cluster)


def test_an_api_server_that_is_away_for_a_while_costs_nothing(cluster: PodCluster, operator: Starts) -> None:
    task = operator()
    waits: list[float] = []
    task.client.api_client._sleep = waits.append
    cluster.away = lambda _request: 503 if cluster.created and len(waits) < 20 else 0
    assert task.execute(task_context())["holds"] is True
    assert len(waits) == 20 and len(cluster.created) == 1
    assert_nothing_is_left(cluster)
