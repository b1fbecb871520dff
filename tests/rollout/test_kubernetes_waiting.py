"""What a rollout waits for in a cluster, and for how long: crash loops, pods without a node, an API that starts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client
from support.kubernetes_api import UNPLACED, KubernetesServer, Pod
from support.replicas import Site
from support.served_versions import StatusServer
from support.side_cars import LABELS, SideCar

from sniffer.core.errors import SettingsError, TransientError
from sniffer.core.settings import RolloutSettings
from sniffer_rollout.convergence import Convergence, LoadFailed, NoNode, answers, serves_version
from sniffer_rollout.targets.kubernetes import KubernetesTarget
from sniffer_rollout.targets.kubernetes_api import KubernetesApi

LOOPING = {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}
KILLED = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}


@pytest.fixture
def serving() -> Iterator[Pod]:
    """A running pod that serves version 1."""
    with StatusServer() as server:
        yield Pod("tf-serving-0", int(server.url.rpartition(":")[2]), Path("/nowhere"), LABELS)


def connection(api: KubernetesServer, patience_s: float = 5.0) -> KubernetesApi:
    configuration = client.Configuration(host=api.url)
    configuration.retries = 0
    return KubernetesApi(client.ApiClient(configuration), patience_s)


def servers(api: KubernetesServer, pause: Callable[[], None], problem_s: float = 0.3) -> Convergence:
    """The servers of the Deployment; `pause` is what happens between two looks, which takes 10 ms."""

    def wait(_seconds: float) -> None:
        pause()
        time.sleep(0.01)

    target = KubernetesTarget(connection(api), "sniffer", "tf-serving", config_map="tf-serving-aspired")
    return Convergence(target, RolloutSettings("", "", problem_s=problem_s, load_limit_s=20), wait)


def nothing() -> None:
    """Between two looks nothing happens."""


def container(state: dict[str, Any], *, count: int, ready: bool = False, **last: Any) -> dict[str, Any]:
    return {"name": "tf-serving", "state": state, "restartCount": count, "ready": ready, "lastState": last}


class CrashLoop:
    """A container that is started, runs for some looks, and ends, again and again; seen at each of its states."""

    def __init__(self, pod: Pod, *, ready: bool = False, shows_waiting: bool = True) -> None:
        self._pod, self._looks = pod, 0
        self._ready, self._shows_waiting = ready, shows_waiting
        self.step()

    def step(self) -> None:
        """The next state."""
        count, phase = divmod(self._looks, 4)
        self._looks += 1
        waits = self._shows_waiting and phase == 0
        last = KILLED if count else {}
        state = {"waiting": LOOPING} if waits else {"running": {}}
        found = container(state, count=count, ready=self._ready and not waits, **last)
        self._pod.status = {"phase": "Running", "podIP": "127.0.0.1", "containerStatuses": [found]}


@pytest.mark.parametrize(("ready", "shows_waiting"), [(False, True), (True, True), (True, False), (False, False)])
def test_a_crash_loop_ends_the_wait_also_when_it_looks_well_in_between(
    api: KubernetesServer, serving: Pod, ready: bool, shows_waiting: bool
) -> None:
    api.pods.append(serving)
    api.deployments["tf-serving"]["spec"]["replicas"] = 1
    loop = CrashLoop(serving, ready=ready, shows_waiting=shows_waiting)
    with pytest.raises(TransientError, match="have had problems for"):
        servers(api, loop.step).wait_for(serves_version(2), "loading", 20)


def test_a_canary_that_crashes_of_a_version_twice_fails_it(api: KubernetesServer, serving: Pod) -> None:
    api.pods.append(serving)
    loop = CrashLoop(serving)
    with pytest.raises(LoadFailed, match=r"the server has crashed 2 times: .*OOMKilled, exit status 137"):
        servers(api, loop.step, problem_s=20).wait_for(serves_version(2), "loading", 20, crash_limit=2)


def test_a_replica_without_a_node_is_not_waited_for_but_named(
    api: KubernetesServer, serving: Pod, caplog: pytest.LogCaptureFixture
) -> None:
    api.pods += [serving, Pod("tf-serving-1", 1, Path("/nowhere"), LABELS, status=UNPLACED)]
    found = servers(api, nothing).wait_for(serves_version(1), "loading version 1", 20)
    assert list(map(str, found)) == [f"http://127.0.0.1:{serving.port}"]
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "holds for the 1 of 2 servers that run" in warning
    assert "pod tf-serving-1 has no node (0/3 nodes are available" in warning


def test_pods_that_a_quota_forbids_are_not_waited_for(
    api: KubernetesServer, serving: Pod, caplog: pytest.LogCaptureFixture
) -> None:
    api.pods.append(serving)
    refused = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: gpus"}
    api.deployments["tf-serving"]["status"] = {"conditions": [refused]}
    assert servers(api, nothing).wait_for(serves_version(1), "loading", 20)
    assert "exceeded quota: gpus" in caplog.text


def test_without_any_server_a_pod_that_has_no_node_is_waited_for_in_vain(api: KubernetesServer) -> None:
    api.pods.append(Pod("tf-serving-1", 1, Path("/nowhere"), LABELS, status=UNPLACED))
    with pytest.raises(TransientError, match=r"have had problems for .*has no node \(0/3 nodes"):
        servers(api, nothing).wait_for(answers, "asking", 20)
    with pytest.raises(NoNode, match=r"has no node \(0/3 nodes"):
        servers(api, nothing, problem_s=20).wait_for(answers, "asking", 20, node_limit_s=0.05)


def test_rollout_and_restore_go_on_without_the_replica_that_has_no_node(
    api: KubernetesServer, cluster: Site, side_cars: list[SideCar]
) -> None:
    api.pods.append(Pod("tf-serving-new", 1, Path("/nowhere"), LABELS, status=UNPLACED))
    api.deployments["tf-serving"]["spec"]["replicas"] = 3
    cluster.publish(1)
    report = cluster.step("run")
    assert len(report["load"]["servers"]) == len(report["verify"]["golden"]) == 2
    assert "has no node" in report["preflight"]["problems"][0]
    assert "has no node" in report["load"]["unplaced"][0]
    cluster.step("restore")
    assert cluster.statuses() == {1: "stable"}


NODES = "/api/v1/nodes"


@pytest.mark.parametrize("code", [401, 403])
def test_an_api_server_that_has_just_started_is_given_time(api: KubernetesServer, code: int) -> None:
    api.away_for(0.5, code, "not yet")
    asked = connection(api)
    assert asked.list_all(NODES) == []
    # What was allowed before is asked for again, too: there may be several API servers.
    asked._settles_at = 0.0
    api.away_for(0.5, code, "not yet")
    assert asked.list_all(NODES) == []


@pytest.mark.parametrize(
    ("code", "message"),
    [(403, "no permission to GET .*k8s/base/rbac.yaml"), (401, "does not know us.*renew the login of the kubeconfig")],
)
def test_being_denied_for_long_is_an_error_that_says_what_to_do(api: KubernetesServer, code: int, message: str) -> None:
    api.away_for(600, code, "no")
    asked, began = connection(api, patience_s=0.5), time.monotonic()
    with pytest.raises(SettingsError, match=message):
        asked.get(NODES)
    assert time.monotonic() - began >= 0.5
    # Once is enough: what is denied after that is denied at once.
    began = time.monotonic()
    with pytest.raises(SettingsError):
        asked.get("/api/v1/pods")
    assert time.monotonic() - began < 0.4
