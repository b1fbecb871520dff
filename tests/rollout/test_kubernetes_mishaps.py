"""What happens to a cluster while a rollout waits: nodes are lost, volumes do not come, the ConfigMap is deleted."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client
from support.kubernetes_api import KubernetesServer, Pod
from support.served_versions import StatusServer
from support.side_cars import LABELS

from sniffer.core.errors import TransientError
from sniffer.core.settings import RolloutSettings
from sniffer_rollout.aspired import Aspired
from sniffer_rollout.convergence import Convergence, serves_version
from sniffer_rollout.targets.kubernetes import KubernetesTarget
from sniffer_rollout.targets.kubernetes_api import KubernetesApi

MAP = "tf-serving-aspired"
LOST: list[dict[str, Any]] = [
    {"phase": "Unknown", "podIP": "127.0.0.1"},
    {
        "phase": "Running",
        "podIP": "127.0.0.1",
        "reason": "NodeLost",
        "message": "Node n2 which was running pod tf-serving-1 is unresponsive",
    },
]
NO_VOLUME = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
}


@pytest.fixture
def serving() -> Iterator[Pod]:
    """A running pod that serves version 1."""
    with StatusServer() as server:
        yield Pod("tf-serving-0", int(server.url.rpartition(":")[2]), Path("/nowhere"), LABELS)


def target_of(api: KubernetesServer) -> KubernetesTarget:
    configuration = client.Configuration(host=api.url)
    configuration.retries = 0
    return KubernetesTarget(
        KubernetesApi(client.ApiClient(configuration), 5.0), "sniffer", "tf-serving", config_map=MAP
    )


def servers(api: KubernetesServer, step: Callable[[], None] = lambda: None) -> Convergence:
    """The servers of the Deployment; `step` is what happens between two looks, which takes 10 ms."""

    def wait(_seconds: float) -> None:
        step()
        time.sleep(0.01)

    return Convergence(target_of(api), RolloutSettings("", "", problem_s=0.3, load_limit_s=20), wait)


def beside(api: KubernetesServer, serving: Pod, status: dict[str, Any]) -> Pod:
    """Another pod of the Deployment, in that state; nothing answers at its address."""
    other = Pod("tf-serving-1", 1, Path("/nowhere"), LABELS, status=status)
    api.pods = [serving, other]
    return other


@pytest.mark.parametrize("status", LOST, ids=["unknown", "NodeLost"])
def test_a_pod_on_a_lost_node_is_not_waited_for_but_named(
    status: dict[str, Any], api: KubernetesServer, serving: Pod, caplog: pytest.LogCaptureFixture
) -> None:
    beside(api, serving, status)
    with caplog.at_level(logging.WARNING):
        assert len(servers(api).wait_for(serves_version(1), "loading", 5)) == 1
    assert "holds for the 1 of 2 servers that run" in caplog.text
    assert "pod tf-serving-1 is on the node n2, which does not answer" in caplog.text


@pytest.mark.parametrize("status", LOST, ids=["unknown", "NodeLost"])
def test_when_every_node_is_lost_the_wait_ends_and_says_so(status: dict[str, Any], api: KubernetesServer) -> None:
    api.pods = [Pod("tf-serving-0", 1, Path("/nowhere"), LABELS, status=status)]
    with pytest.raises(TransientError, match="loading.*tf-serving-0 is on the node n2, which does not answer"):
        servers(api).wait_for(serves_version(1), "loading", 5)


def test_a_pod_that_is_deleted_and_never_gone_counts_for_nothing(api: KubernetesServer, serving: Pod) -> None:
    leaving = beside(api, serving, {"phase": "Running", "podIP": "127.0.0.1"})
    leaving.deleted_at = "2026-11-26T00:00:00Z"
    api.deployments["tf-serving"]["spec"]["replicas"] = 1
    assert len(servers(api).wait_for(serves_version(1), "loading", 5)) == 1
    # Its replacement is waited for.
    api.deployments["tf-serving"]["spec"]["replicas"] = 2
    with pytest.raises(TransientError, match="1 of 2 servers run"):
        servers(api).wait_for(serves_version(1), "loading", 0.1)


def test_a_volume_that_does_not_come_is_named(
    api: KubernetesServer, serving: Pod, caplog: pytest.LogCaptureFixture
) -> None:
    beside(api, serving, {"phase": "Pending", "conditions": [NO_VOLUME]})
    with caplog.at_level(logging.WARNING):
        servers(api).wait_for(serves_version(1), "loading", 5)
    assert "pod tf-serving-1 has no node (0/3 nodes are available: pod has unbound immediate Persist" in caplog.text
    # It has a node, and the kubelet cannot attach the volume.
    waiting = {"name": "tf-serving", "state": {"waiting": {"reason": "ContainerCreating"}}}
    beside(api, serving, {"phase": "Pending", "containerStatuses": [waiting]})
    with pytest.raises(TransientError, match=r"1 of 2 servers run; pod tf-serving-1 has not started \(ContainerCreat"):
        servers(api).wait_for(serves_version(1), "loading", 0.1)


def test_a_config_map_that_somebody_deletes_is_written_again(
    api: KubernetesServer, serving: Pod, caplog: pytest.LogCaptureFixture
) -> None:
    told = Aspired.of([1, 2], stable=1)
    api.deployments["tf-serving"]["spec"]["replicas"] = 1
    looks: list[int] = []

    def delete_it() -> None:
        looks.append(1)
        if len(looks) == 2:
            del api.config_maps[MAP]
        if len(looks) == 8:
            api.pods = [serving]

    found = servers(api, delete_it)
    found.tell(told)
    with caplog.at_level(logging.WARNING):
        assert len(found.wait_for(serves_version(1), "loading", 20)) == 1
    assert api.aspired() == json.loads(told.json())
    assert caplog.text.count("what kubernetes:sniffer/tf-serving was told is gone; telling it again") == 1


@pytest.mark.parametrize("text", ['{"versions": [7], "labels": {"stable": 7}}', "nonsense"])
def test_a_config_map_that_says_something_else_meanwhile_ends_the_wait(text: str, api: KubernetesServer) -> None:
    found = servers(api, lambda: api.edit(MAP, {"aspired.json": text}))
    found.tell(Aspired.of([1], stable=1))
    with pytest.raises(TransientError, match="loading: .* is told something else meanwhile, by another rollout or by"):
        found.wait_for(serves_version(1), "loading", 20)
    # What somebody else wrote is left as it is.
    assert api.config_maps[MAP]["data"]["aspired.json"] == text
