"""The documented nodes hold the documented pods: what they reserve, summed as Kubernetes' scheduler does."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.manifests import Manifests, Render, Resource

from sniffer_rollout.targets.capacity import GPU, find_room, requests

MIB = 1024**2
# On four vCPUs EKS keeps 80m; of memory 255 MiB, 11 MiB for each of the 58 or 29 pods that a node may have, and 100 MiB
# before it evicts (https://github.com/awslabs/amazon-eks-ami). Of 16 GiB a guest sees some 15.1.
SIZES = {
    "m6i.xlarge": {"cpu": "3920m", "memory": str((15460 - 255 - 11 * 58 - 100) * MIB), "pods": "58"},
    "g4dn.xlarge": {"cpu": "3920m", "memory": str((15460 - 255 - 11 * 29 - 100) * MIB), "pods": "29", GPU: "1"},
}
# What EKS's add-ons ask for: on each node aws-node, kube-proxy and the EBS driver; once for the cluster two each of
# CoreDNS, metrics-server and the EBS controller, and the autoscaler.
ON_EACH_NODE = [("50m", "0"), ("100m", "0"), ("30m", "120Mi")]
ONCE = [("100m", "70Mi")] * 2 + [("100m", "200Mi")] * 2 + [("60m", "240Mi")] * 2 + [("100m", "300Mi")]
SIDE_CAR = {"resources": {"requests": {"cpu": "1m", "memory": "10Mi"}}}
"""Airflow's, in each pod that a task starts."""

Pod = dict[str, Any]


def pod(cpu: str, memory: str, **spec: Any) -> Pod:
    return {"spec": {"containers": [{"resources": {"requests": {"cpu": cpu, "memory": memory}}}], **spec}}


class Cluster:
    """Nodes with the pods that the scheduler gives them: of those with room, the one with the largest share left."""

    def __init__(self, k8s: Path, **counts: int) -> None:
        groups = {each["name"]: each for each in yaml.safe_load((k8s / "eksctl.yaml").read_text())["managedNodeGroups"]}
        self.nodes = [_node(groups[name], number) for name, count in counts.items() for number in range(count)]
        self.pods: list[Pod] = []
        for node in self.nodes:
            for cpu, memory in ON_EACH_NODE:
                self._bind(pod(cpu, memory), node["metadata"]["name"])

    def place(self, pods: Iterable[Pod]) -> None:
        """Give each of them a node, in turn; fails when none has room."""
        for each in pods:
            spec = each["spec"]
            open_to = [node for node in self.nodes if find_room([node], self.pods, spec).node]
            assert open_to, f"no node has room for {requests(spec)}: {find_room(self.nodes, self.pods, spec).lacking}"
            best = max(open_to, key=self._share_left)
            self._bind(each, best["metadata"]["name"])

    def _bind(self, each: Pod, name: str) -> None:
        self.pods.append({"spec": {**each["spec"], "nodeName": name}})

    def _share_left(self, node: Resource) -> Decimal:
        here = [each for each in self.pods if each["spec"]["nodeName"] == node["metadata"]["name"]]
        there = requests({"containers": [{"resources": {"requests": node["status"]["allocatable"]}}]})
        taken = [requests(each["spec"]) for each in here]
        return sum(
            (1 - sum(one.get(name, Decimal(0)) for one in taken) / there[name] for name in ("cpu", "memory")),
            Decimal(0),
        )


def _node(group: Resource, number: int) -> Resource:
    return {
        "metadata": {"name": f"{group['name']}-{number}", "labels": group.get("labels", {})},
        "spec": {"taints": group.get("taints", [])},
        "status": {"allocatable": SIZES[group["instanceType"]], "conditions": [{"type": "Ready", "status": "True"}]},
    }


def group_of(k8s: Path, name: str) -> Resource:
    """The node group of that name."""
    groups = yaml.safe_load((k8s / "eksctl.yaml").read_text())["managedNodeGroups"]
    (found,) = [each for each in groups if each["name"] == name]
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def airflow(k8s: Path) -> list[Pod]:
    """Airflow's own pods, as its chart makes them of our values."""
    values = yaml.safe_load((k8s / "airflow-values.yaml").read_text())
    asked = [values[name]["resources"]["requests"] for name in ("scheduler", "apiServer", "dagProcessor", "triggerer")]
    return [pod(str(each["cpu"]), each["memory"]) for each in asked]


@pytest.fixture(scope="module")
def tasks(render: Render) -> dict[str, Pod]:
    """The pods that Airflow's tasks start, by the name of their template."""
    return {
        name: {"spec": {**found["spec"], "containers": [*found["spec"]["containers"], SIDE_CAR]}}
        for name, found in render("pods").pods()
    }


def fleet(manifests: Manifests) -> list[Pod]:
    """The pods of a fleet over many."""
    jobs = manifests.of_kind("Job")
    return [job["spec"]["template"] for job in jobs for _ in range(job["spec"].get("parallelism", 1))]


def test_two_general_nodes_hold_airflow_a_scan_a_training_and_a_rollout(
    k8s: Path, airflow: list[Pod], tasks: dict[str, Pod]
) -> None:
    count = group_of(k8s, "general")["desiredCapacity"]
    assert count == 2
    # The chart's pods come in any order, and the scheduler spreads them.
    for order in itertools.permutations(airflow):
        for last in (list(tasks.values()), list(reversed(tasks.values()))):
            cluster = Cluster(k8s, general=count)
            cluster.place([*(pod(*each) for each in ONCE), *order, *last])


def test_all_there_can_be_at_a_time_fits_the_groups_at_their_largest(
    k8s: Path, airflow: list[Pod], tasks: dict[str, Pod], render: Render
) -> None:
    overlay = render("overlays/gpu")
    server = overlay.get("Deployment", "tf-serving")["spec"]["template"]
    migrate = overlay.get("Job", "sniffer-migrate")["spec"]["template"]
    most = overlay.get("HorizontalPodAutoscaler", "tf-serving")["spec"]["maxReplicas"]
    cluster = Cluster(k8s, general=group_of(k8s, "general")["maxSize"], gpu=group_of(k8s, "gpu")["maxSize"])
    cluster.place([*(pod(*each) for each in ONCE), *airflow, *tasks.values(), migrate, *fleet(render("fleet"))])
    cluster.place([server] * most)


def test_a_gpu_node_holds_a_server_or_a_training(k8s: Path, render: Render, tasks: dict[str, Pod]) -> None:
    assert group_of(k8s, "gpu")["desiredCapacity"] == 1
    server = render("overlays/gpu").get("Deployment", "tf-serving")["spec"]["template"]
    changes = yaml.safe_load((k8s / "pods" / "trainer-gpu.yaml").read_text())["spec"]
    training = {"spec": {**tasks["sniffer-trainer"]["spec"], **changes}}
    for each in (server, training):
        Cluster(k8s, gpu=1).place([each])
    with pytest.raises(AssertionError, match="no node has room"):
        Cluster(k8s, gpu=1).place([server, training])


def test_pods_without_a_gpu_stay_away_from_the_nodes_that_have_one(k8s: Path, tasks: dict[str, Pod]) -> None:
    with pytest.raises(AssertionError, match="no node has room"):
        Cluster(k8s, gpu=3).place([tasks["sniffer-fleet"]])
