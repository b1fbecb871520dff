"""Surge: a version is proved in a pod of its own before the servers see it, where some node has room for one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.kubernetes_api import UNPLACED, KubernetesServer, Pod
from support.replicas import Site
from support.side_cars import SideCar, add_pod, sync_settings

from sniffer_rollout.aspired import ASPIRED_FILE
from sniffer_rollout.targets.kubernetes import canary_deployment

GPU = {"limits": {"nvidia.com/gpu": "1"}}


def give_gpus(api: KubernetesServer, count: int) -> None:
    """The Deployment's pods take a GPU each; the node has so many, one of which is taken."""
    api.deployments["tf-serving"]["spec"]["replicas"] = 1
    api.deployments["tf-serving"]["spec"]["template"]["spec"]["containers"][0]["resources"] = GPU
    there = {"nvidia.com/gpu": str(count), "cpu": "4", "memory": "16Gi", "pods": "29"}
    ready = {"allocatable": there, "conditions": [{"type": "Ready", "status": "True"}]}
    api.nodes = [{"metadata": {"name": "gpu-1", "labels": {}}, "spec": {}, "status": ready}]
    taken = {"nodeName": "gpu-1", "containers": [{"resources": GPU}]}
    api.other_pods = [{"metadata": {"name": "x"}, "spec": taken, "status": {"phase": "Running"}}]


@dataclass
class Canary:
    """What became of the canaries: their Deployments, the first thing each was told, their side-cars."""

    made: list[dict[str, Any]] = field(default_factory=list)
    told_first: list[Any] = field(default_factory=list)
    cars: list[SideCar] = field(default_factory=list)


@pytest.fixture
def canary(api: KubernetesServer, cluster: Site, tmp_path: Path) -> Iterator[Canary]:
    """The second server becomes the canary's pod once its Deployment is there."""
    live, spare = cluster.replicas
    found = Canary()
    found.cars.append(SideCar(sync_settings(add_pod(api, live, tmp_path), live, str(cluster.base))))

    def schedule(name: str, body: dict[str, Any]) -> None:
        found.made.append(body)
        labels = body["spec"]["template"]["metadata"]["labels"]
        pod = add_pod(api, spare, tmp_path / f"canary-{len(found.made)}", labels)
        pod.name, pod.config_map = f"{name}-x", "tf-serving-aspired-canary"
        api.mount(pod)
        found.told_first.append(json.loads((pod.mount / ASPIRED_FILE).read_text()))
        found.cars.append(SideCar(sync_settings(pod, spare, str(cluster.base))))

    api.on_create = schedule
    yield found
    for car in found.cars:
        car.stop()


def test_a_spare_gpu_proves_the_version_before_the_servers_see_it(
    api: KubernetesServer, cluster: Site, canary: Canary
) -> None:
    give_gpus(api, 2)
    cluster.publish(1)
    report = cluster.step("run")
    assert report["preflight"]["mode"]["name"] == "surge"
    assert list(report["load"]["surge"]["golden"]) == [cluster.replicas[1].url]
    assert cluster.replicas[0].available() == [1]
    (made,) = canary.made
    assert made["spec"]["replicas"] == 1
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "tf-serving-canary"
    assert labels["sniffer/role"] == "canary"
    assert labels["app.kubernetes.io/component"] == "serving"
    assert made["spec"]["template"]["spec"]["volumes"][1]["configMap"]["name"] == "tf-serving-aspired-canary"
    # A server that starts with nothing to load answers, whatever it is told to load then.
    assert canary.told_first == [{"versions": [], "labels": {}}]
    assert api.written[:2] == ["tf-serving-aspired-canary", "tf-serving-canary"]
    assert api.deleted == ["tf-serving-canary", "tf-serving-aspired-canary"]
    assert api.deployments["tf-serving"]["spec"]["template"]["spec"]["volumes"][1]["configMap"]["name"] == (
        "tf-serving-aspired"
    )


def test_a_version_that_breaks_the_canary_never_reaches_the_servers(
    api: KubernetesServer, cluster: Site, canary: Canary
) -> None:
    give_gpus(api, 2)
    cluster.publish(1, "corrupt")
    found = cluster.step("load", "--version=1", status=2)
    assert "loading version 1 in the canary" in found["error"]
    assert "is at END with it" in found["error"]
    assert canary.told_first == [{"versions": [], "labels": {}}]
    assert api.deleted == ["tf-serving-canary", "tf-serving-aspired-canary"]
    assert "tf-serving-aspired" not in api.config_maps


def fill_node(api: KubernetesServer) -> None:
    """A GPU is spare, and the memory that a server asks for beside it is not."""
    give_gpus(api, 2)
    server = api.deployments["tf-serving"]["spec"]["template"]["spec"]["containers"][0]
    server["resources"] = GPU | {"requests": {"memory": "8Gi"}}
    api.other_pods[0]["spec"]["containers"][0]["resources"] = server["resources"] | {"requests": {"memory": "9Gi"}}


def test_without_a_spare_gpu_or_a_look_at_the_nodes_it_is_in_place(
    api: KubernetesServer, cluster: Site, pods: list[Pod]
) -> None:
    cluster.publish(1)
    cases: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: None, "ask for no GPU"),
        (lambda: give_gpus(api, 1), "no GPU is spare"),
        (lambda: fill_node(api), r"a GPU is spare, but its node has too little left of other things: gpu-1 \(memory\)"),
        (lambda: setattr(api, "refuse", _no_nodes), "cannot see whether a GPU is spare: no permission"),
    )
    for arrange, message in cases:
        arrange()
        mode = cluster.step("preflight")["mode"]
        assert mode["name"] == "in-place"
        assert re.search(message, mode["reason"])


def _no_nodes(_method: str, path: str) -> Any:
    return (403, {"message": "nodes is forbidden"}) if path.endswith("/nodes") else None


def test_a_canary_that_gets_no_node_makes_way_for_loading_in_place(
    api: KubernetesServer, cluster: Site, side_cars: list[SideCar], monkeypatch: pytest.MonkeyPatch
) -> None:
    give_gpus(api, 2)
    api.deployments["tf-serving"]["spec"]["replicas"] = 2
    monkeypatch.setenv("SNIFFER_ROLLOUT_PROBLEM_S", "0.5")

    def schedule(name: str, body: dict[str, Any]) -> None:
        labels = body["spec"]["template"]["metadata"]["labels"]
        api.pods.append(Pod(f"{name}-x", 1, Path("/nowhere"), labels, status=UNPLACED))

    api.on_create = schedule
    cluster.publish(1)
    report = cluster.step("load", "--version=1")
    assert report["surge"] is None
    assert len(report["servers"]) == 2
    assert api.deleted == ["tf-serving-canary", "tf-serving-aspired-canary"]


def test_a_canary_that_was_left_behind_is_removed_with_its_config_map(
    api: KubernetesServer, cluster: Site, side_cars: list[SideCar]
) -> None:
    api.deployments["tf-serving-canary"] = api.deployments["tf-serving"]
    api.edit("tf-serving-aspired-canary", {"aspired.json": "{}"})
    cluster.step("restore")
    assert api.deleted == ["tf-serving-canary", "tf-serving-aspired-canary"]


def test_the_pods_of_a_canary_that_was_just_deleted_are_not_taken_for_this_ones(
    api: KubernetesServer, cluster: Site, canary: Canary
) -> None:
    """Kubernetes forgets the Deployment at once, and its pods, which look the same, only after a while."""
    give_gpus(api, 2)
    server = api.deployments["tf-serving"]
    former = canary_deployment(server, ASPIRED_FILE, "tf-serving-aspired-canary", "former")
    api.deployments["tf-serving-canary"] = former
    labels = former["spec"]["template"]["metadata"]["labels"]
    api.pods += [Pod(f"tf-serving-canary-{name}", 1, Path("/nowhere"), labels) for name in ("old", "older")]
    api.pods_linger = True
    cluster.publish(1)
    report = cluster.step("load", "--version=1")
    assert list(report["surge"]["golden"]) == [cluster.replicas[1].url]
    assert len(canary.made) == 1
