"""Reads what Kubernetes says of pods and nodes: a server's URL, what keeps a pod from serving, where a GPU is free.

Pure functions over the API's JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]

GPU = "nvidia.com/gpu"
REST_PORT = 8501
_PORT_NAME = "rest"
_TRANSIENT_REASONS = ("ContainerCreating", "PodInitializing")
_ENDED_PHASES = ("Succeeded", "Failed")


def is_leaving(pod: Json) -> bool:
    """Whether the pod has ended, or was told to."""
    return "deletionTimestamp" in pod["metadata"] or pod.get("status", {}).get("phase") in _ENDED_PHASES


def base_url(pod: Json) -> str | None:
    """`http://ip:port` of the model server in a running pod, by its container port `rest`, else REST_PORT."""
    status = pod.get("status", {})
    address = status.get("podIP")
    if not address or status.get("phase") != "Running" or is_leaving(pod):
        return None
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports", ())]
    port = next((port["containerPort"] for port in ports if port.get("name") == _PORT_NAME), REST_PORT)
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def problem(pod: Json) -> str | None:
    """What keeps the pod from serving for long: no node, no image, a crash loop. None otherwise."""
    status = pod.get("status", {})
    name = pod["metadata"]["name"]
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"pod {name} has no node ({condition.get('message') or condition.get('reason')})"
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        waiting = container.get("state", {}).get("waiting")
        if waiting and waiting.get("reason") not in (None, *_TRANSIENT_REASONS):
            reason = ": ".join(text for text in (waiting["reason"], waiting.get("message")) if text)
            return f"pod {name}, container {container['name']}: {reason}{_last_end(container)}"
    return None


def _last_end(container: Json) -> str:
    ended = container.get("lastState", {}).get("terminated")
    return f" (it ended last with {ended.get('reason')}, exit status {ended.get('exitCode')})" if ended else ""


def requested_gpus(pod_spec: Json) -> int:
    """How many GPUs a pod of that spec takes."""
    return sum(_gpus(container.get("resources", {}).get("limits", {})) for container in pod_spec["containers"])


def spare_gpu_node(nodes: Iterable[Json], pods: Sequence[Json], pod_spec: Json) -> str | None:
    """A node on which one more pod of that spec finds its GPUs, or None: allocatable less requested, node by node."""
    wanted = requested_gpus(pod_spec)
    for node in nodes:
        name = node["metadata"]["name"]
        taken = sum(
            requested_gpus(pod["spec"])
            for pod in pods
            if pod["spec"].get("nodeName") == name and pod.get("status", {}).get("phase") not in _ENDED_PHASES
        )
        if _is_open(node, pod_spec) and _gpus(node["status"].get("allocatable", {})) - taken >= wanted:
            return str(name)
    return None


def _is_open(node: Json, pod_spec: Json) -> bool:
    labels, selector = node["metadata"].get("labels", {}), pod_spec.get("nodeSelector", {})
    conditions = {condition["type"]: condition["status"] for condition in node["status"].get("conditions", ())}
    return (
        conditions.get("Ready") == "True"
        and not node["spec"].get("unschedulable")
        and all(labels.get(key) == value for key, value in selector.items())
        and all(_is_tolerated(taint, pod_spec.get("tolerations", ())) for taint in node["spec"].get("taints", ()))
    )


def _is_tolerated(taint: Json, tolerations: Iterable[Json]) -> bool:
    """https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/"""
    return taint["effect"] == "PreferNoSchedule" or any(
        toleration.get("key") in (None, taint["key"])
        and toleration.get("effect") in (None, "", taint["effect"])
        and (toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", ""))
        for toleration in tolerations
    )


def _gpus(amounts: Json) -> int:
    return int(amounts.get(GPU, 0))
