"""What Kubernetes says of pods, read."""

from __future__ import annotations

import re
from typing import Any

import pytest

from sniffer_rollout.targets.pods import base_url, not_created, problem, recovery, restarts, without_node


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
            RUNNING
            | {
                "containerStatuses": [
                    waiting("CrashLoopBackOff", lastState={"terminated": {"reason": "OOMKilled", "exitCode": 137}})
                ]
            },
            "CrashLoopBackOff .*OOMKilled, exit status 137",
        ),
        ({"initContainerStatuses": [waiting("CrashLoopBackOff")]}, "container c: CrashLoopBackOff"),
        (
            RUNNING
            | {"containerStatuses": [{"name": "c", "state": {"terminated": {"reason": "Error", "exitCode": 1}}}]},
            "container c: ended with Error, exit status 1",
        ),
        ({"initContainerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 0}}}]}, None),
    ],
)
def test_what_keeps_a_pod_is_named(status: dict[str, Any], said: str | None) -> None:
    found = problem(pod(status))
    assert found is None if said is None else re.search(said, found or "")


def test_a_pod_that_no_node_takes_is_told_from_one_that_fails() -> None:
    message = "0/3 nodes: 3 Insufficient nvidia.com/gpu"
    unplaced = pod({"conditions": [{"type": "PodScheduled", "status": "False", "message": message}]})
    assert without_node(unplaced) == f"pod p has no node ({message})"
    assert problem(unplaced) is None
    placed = pod(RUNNING | {"conditions": [{"type": "PodScheduled", "status": "True"}]})
    assert without_node(placed) is None


def again(count: int, *, ready: bool, status: int = 137) -> dict[str, Any]:
    ended = {"terminated": {"reason": "OOMKilled", "exitCode": status}}
    return {"name": "c", "ready": ready, "restartCount": count, "state": {"running": {}}, "lastState": ended}


def test_a_container_between_two_crashes_has_not_recovered() -> None:
    crashed = pod(RUNNING | {"containerStatuses": [again(3, ready=False)], "initContainerStatuses": [{"name": "s"}]})
    assert recovery(crashed) == (
        "pod p, container c: started again 3 times (it ended last with OOMKilled, exit status 137)"
    )
    assert restarts(crashed) == {"p/c": 3}
    for well in (again(3, ready=True), again(1, ready=False, status=0)):
        assert recovery(pod(RUNNING | {"containerStatuses": [well]})) is None


def test_pods_that_may_not_be_made_are_named() -> None:
    refused = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: gpus"}
    deployment = {"metadata": {"name": "tf-serving"}, "status": {"conditions": [refused]}}
    assert not_created(deployment) == "pods of tf-serving cannot be created (exceeded quota: gpus)"
    assert not_created({"metadata": {"name": "tf-serving"}, "status": {}}) is None
