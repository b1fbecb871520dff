"""What Kubernetes says of pods and nodes, read."""

from __future__ import annotations

import re
from typing import Any

import pytest

from sniffer_rollout.targets.pods import base_url, problem, spare_gpu_node


def pod(status: dict[str, Any], *, port: int | None = 9000, **metadata: str) -> dict[str, Any]:
    ports = [{"name": "metrics", "containerPort": 1}, *([{"name": "rest", "containerPort": port}] if port else [])]
    spec = {"containers": [{"name": "tf-serving", "ports": ports}]}
    return {"metadata": {"name": "p", **metadata}, "spec": spec, "status": status}


RUNNING = {"phase": "Running", "podIP": "10.0.0.7"}


def test_the_servers_address_is_the_pods_own() -> None:
    assert base_url(pod(RUNNING)) == "http://10.0.0.7:9000"
    assert base_url(pod(RUNNING, port=None)) == "http://10.0.0.7:8501"
    assert base_url(pod(RUNNING | {"podIP": "fd00::7"})) == "http://[fd00::7]:9000"


@pytest.mark.parametrize(
    "other",
    [
        pod({"phase": "Pending", "podIP": "10.0.0.7"}),
        pod({"phase": "Running"}),
        pod(RUNNING, deletionTimestamp="2026-11-23T00:00:00Z"),
        pod({"phase": "Failed", "podIP": "10.0.0.7"}),
    ],
)
def test_a_pod_that_does_not_run_has_none(other: dict[str, Any]) -> None:
    assert base_url(other) is None


def waiting(reason: str, message: str | None = None, **more: Any) -> dict[str, Any]:
    return {"name": "c", "state": {"waiting": {"reason": reason, "message": message}}, **more}


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (RUNNING, None),
        ({"phase": "Pending", "containerStatuses": [waiting("ContainerCreating")]}, None),
        ({"phase": "Pending", "containerStatuses": [waiting("ErrImagePull", "no such tag")]}, "ErrImagePull: no such"),
        (
            {
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "message": "0/3 nodes: 3 Insufficient nvidia.com/gpu"}
                ]
            },
            "has no node .*Insufficient nvidia.com/gpu",
        ),
        (
            RUNNING
            | {
                "containerStatuses": [
                    waiting("CrashLoopBackOff", lastState={"terminated": {"reason": "OOMKilled", "exitCode": 137}})
                ]
            },
            "CrashLoopBackOff .*OOMKilled, exit status 137",
        ),
        ({"initContainerStatuses": [waiting("CrashLoopBackOff")]}, "container c: CrashLoopBackOff"),
    ],
)
def test_what_keeps_a_pod_is_named(status: dict[str, Any], said: str | None) -> None:
    found = problem(pod(status))
    assert found is None if said is None else re.search(said, found or "")


def node(gpus: int, *, ready: str = "True", **spec: Any) -> dict[str, Any]:
    status = {"allocatable": {"nvidia.com/gpu": str(gpus)}, "conditions": [{"type": "Ready", "status": ready}]}
    return {"metadata": {"name": "n", "labels": {"zone": "a"}}, "spec": spec, "status": status}


def taking(gpus: int, phase: str = "Running", on: str = "n") -> dict[str, Any]:
    limits = {"limits": {"nvidia.com/gpu": str(gpus)}}
    return {"spec": {"nodeName": on, "containers": [{"resources": limits}, {}]}, "status": {"phase": phase}}


TAINT = {"key": "nvidia.com/gpu", "effect": "NoSchedule"}
TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("of", "pods", "spec", "spare"),
    [
        (node(1), [], {}, True),
        (node(1), [taking(1)], {}, False),
        (node(2), [taking(1), taking(1, on="other")], {}, True),
        (node(1), [taking(1, "Succeeded")], {}, True),
        (node(0), [], {}, False),
        (node(1, ready="False"), [], {}, False),
        (node(1, unschedulable=True), [], {}, False),
        (node(1), [], {"nodeSelector": {"zone": "a"}}, True),
        (node(1), [], {"nodeSelector": {"zone": "b"}}, False),
        (node(1, taints=[TAINT]), [], {}, False),
        (node(1, taints=[TAINT]), [], {"tolerations": [TOLERATION]}, True),
        (node(1, taints=[TAINT | {"value": "x"}]), [], {"tolerations": [{"key": "nvidia.com/gpu"}]}, False),
        (node(1, taints=[TAINT | {"effect": "PreferNoSchedule"}]), [], {}, True),
    ],
)
def test_a_gpu_is_spare_where_a_pod_could_run(
    of: dict[str, Any], pods: list[dict[str, Any]], spec: dict[str, Any], spare: bool
) -> None:
    wanted = {"containers": [{"resources": {"limits": {"nvidia.com/gpu": 1}}}], **spec}
    assert spare_gpu_node([of], pods, wanted) == ("n" if spare else None)
