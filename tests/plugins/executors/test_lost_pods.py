"""Pods of which nothing more will be heard, and pods that never start: the task ends, and says which and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from airflow.providers.cncf.kubernetes.utils.pod_manager import PodLaunchTimeoutException
from airflow.sdk.exceptions import AirflowException, AirflowRescheduleException
from kubernetes import client
from support.http_server import HttpAnswer, HttpRequest, HttpServer
from support.task_context import TaskInstance, task_context
from support.task_log import TaskLog

from sniffer_airflow.executors.lost_pods import LOST_AFTER_S, LostPods, PodLost, why_pending
from sniffer_airflow.executors.pod import PodProgramOperator
from sniffer_airflow.executors.turns import LOST_AT_MOST, start_another

RUNNING = {"name": "base", "image": "i", "imageID": "i", "ready": True, "restartCount": 0, "state": {"running": {}}}
NO_VOLUME = "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims."


class PodServer(HttpServer):
    """One pod, as it is told to be; its log is empty, its events are none. Patches of its labels are kept."""

    def __init__(self) -> None:
        self.status: dict[str, Any] = {"phase": "Running", "containerStatuses": [RUNNING]}
        self.metadata: dict[str, Any] = {}
        self.labels: dict[str, str] = {}
        self.deleted = False
        self.events_are_gone = False
        super().__init__()

    def respond(self, request: HttpRequest) -> HttpAnswer:
        path = urlsplit(request.path).path
        if path.endswith("/log"):
            return HttpAnswer(200, b"", [("Content-Type", "text/plain")])
        if path.endswith("/events") and self.events_are_gone:
            gone = {"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410, "message": "too old"}
            return HttpAnswer(410, json.dumps(gone).encode(), [("Content-Type", "application/json")])
        if path.endswith("/events"):
            return self._json({"kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": []})
        self.deleted |= request.method == "DELETE"
        if request.method == "PATCH":
            self.labels |= json.loads(request.body)["metadata"]["labels"]
        return self._json(self.pod())

    def _json(self, document: dict[str, Any]) -> HttpAnswer:
        return HttpAnswer(200, json.dumps(document).encode(), [("Content-Type", "application/json")])

    def pod(self) -> dict[str, Any]:
        return {
            "metadata": {"name": "scan-1", "namespace": "sniffer", "labels": self.labels, **self.metadata},
            "spec": {"containers": [{"name": "base"}], "nodeName": "n2"},
            "status": self.status,
        }


@pytest.fixture
def server() -> Iterator[PodServer]:
    with PodServer() as found:
        yield found


def read(server: PodServer) -> client.V1Pod:
    api = client.CoreV1Api(client.ApiClient(client.Configuration(host=server.url)))
    return api.read_namespaced_pod("scan-1", "sniffer")


class Watch:
    """Looks at the pod, at a time that the test sets."""

    def __init__(self, server: PodServer) -> None:
        self.now = 0.0
        self._server = server
        self._pods = LostPods(lambda: self.now)

    def look(self, at: float) -> None:
        self.now = at
        self._pods.check(read(self._server))


def test_a_pod_that_runs_is_not_lost(server: PodServer) -> None:
    watch = Watch(server)
    for at in (0, 1, 10**6):
        watch.look(at)


@pytest.mark.parametrize(("grace", "patience_s"), [(None, 30), (0, 0), (600, 600)])
def test_a_pod_that_is_deleted_and_never_gone_is_lost_beyond_its_grace(
    grace: int | None, patience_s: float, server: PodServer
) -> None:
    server.metadata = {"deletionTimestamp": "2026-11-26T10:00:00Z"}
    if grace is not None:
        server.metadata["deletionGracePeriodSeconds"] = grace
    watch = Watch(server)
    watch.look(5)
    watch.look(5 + patience_s + LOST_AFTER_S - 1)
    with pytest.raises(
        PodLost, match="pod scan-1 on the node n2 is lost: it was to end by 2026-11-26 10:00:00 UTC.*retry"
    ):
        watch.look(5 + patience_s + LOST_AFTER_S)


def test_a_pod_whose_node_is_lost_is_lost(server: PodServer) -> None:
    server.status |= {"reason": "NodeLost", "message": "Node n2 which was running pod scan-1 is unresponsive"}
    with pytest.raises(PodLost, match="is lost: Node n2 which was running pod scan-1 is unresponsive"):
        Watch(server).look(0)


def test_an_unknown_phase_may_pass(server: PodServer) -> None:
    watch = Watch(server)
    for at, phase in ((0, "Unknown"), (100, "Unknown"), (101, "Running"), (102, "Unknown"), (200, "Unknown")):
        server.status["phase"] = phase
        watch.look(at)
    with pytest.raises(PodLost, match="its state is not known"):
        watch.look(102 + LOST_AFTER_S)


def test_a_pod_that_has_ended_is_not_lost_though_nobody_removes_it(server: PodServer) -> None:
    server.metadata = {"deletionTimestamp": "2026-11-26T10:00:00Z"}
    for phase in ("Succeeded", "Failed"):
        server.status["phase"] = phase
        watch = Watch(server)
        watch.look(0)
        watch.look(10**6)


@pytest.fixture
def operator(server: PodServer, monkeypatch: pytest.MonkeyPatch) -> PodProgramOperator:
    """An operator whose pod is the server's, with all of Airflow's own way through `execute` but its database."""
    found = PodProgramOperator(task_id="scan", module="sniffer.scan")
    found.startup_timeout_seconds = found.schedule_timeout_seconds = 0
    api = client.CoreV1Api(client.ApiClient(client.Configuration(host=server.url)))
    monkeypatch.setattr(PodProgramOperator, "log", TaskLog())
    monkeypatch.setattr(PodProgramOperator, "client", api)
    monkeypatch.setattr(PodProgramOperator, "build_pod_request_obj", lambda *_, **__: read(server))
    monkeypatch.setattr(PodProgramOperator, "get_or_create_pod", lambda *_, **__: read(server))
    monkeypatch.setattr(PodProgramOperator, "find_pod", lambda *_, **__: read(server))
    return found


def test_a_lost_pod_starts_the_task_again_without_a_retry_and_is_not_taken_up_again(
    server: PodServer, operator: PodProgramOperator
) -> None:
    server.status |= {"reason": "NodeLost", "message": "Node n2 is unresponsive"}
    with pytest.raises(AirflowRescheduleException):
        operator.execute(task_context())
    log: Any = operator.log
    assert [text for _, text in log.records if "started again" in text] == [
        "pod scan-1 on the node n2 is lost: Node n2 is unresponsive. A retry starts another pod; see `kubectl describe "
        "pod scan-1`, and when the node is gone for good, delete it, so that its pods go too: this task is started "
        f"again (1 of {LOST_AT_MOST}), which is no retry"
    ]
    assert server.labels["already_checked"] == "True" and server.deleted


def test_too_many_lost_pods_of_one_try_are_its_failure_with_the_reason(
    server: PodServer, operator: PodProgramOperator
) -> None:
    server.status |= {"reason": "NodeLost", "message": "Node n2 is unresponsive"}
    context = task_context(TaskInstance(try_number=2))
    context["task_state_store"].set("lost_pods", {"try": 2, "count": LOST_AT_MOST})
    with pytest.raises(AirflowException, match="^pod scan-1 on the node n2 is lost: Node n2 is unresponsive") as raised:
        operator.execute(context)
    assert raised.value.__suppress_context__
    # Those of an earlier try do not count.
    with pytest.raises(AirflowRescheduleException):
        start_another(task_context(TaskInstance(try_number=3), context["task_state_store"]), "it is lost", TaskLog())


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (
            {
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": NO_VOLUME}
                ]
            },
            "pod has unbound immediate PersistentVolumeClaims",
        ),
        (
            {"containerStatuses": [RUNNING | {"ready": False, "state": {"waiting": {"reason": "ContainerCreating"}}}]},
            "container base: ContainerCreating",
        ),
    ],
    ids=["a claim that stays Pending", "a volume that is not attached"],
)
def test_a_pod_that_never_starts_says_what_it_waits_for(
    status: dict[str, Any], why: str, server: PodServer, operator: PodProgramOperator
) -> None:
    server.status = {"phase": "Pending", **status}
    with pytest.raises(AirflowException, match=f"Pod took too long to .* It waits for this: .*{why}"):
        operator.execute(task_context())


def test_events_that_are_too_old_to_be_told_end_nothing(server: PodServer, operator: PodProgramOperator) -> None:
    server.events_are_gone = True
    server.status = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "full"}]}
    with pytest.raises(AirflowException, match="Pod took too long to .* It waits for this: full"):
        operator.execute(task_context())


def test_of_a_pod_that_has_started_there_is_nothing_to_say(server: PodServer) -> None:
    assert why_pending(read(server)) is None and why_pending(None) is None
    assert issubclass(PodLaunchTimeoutException, AirflowException)
