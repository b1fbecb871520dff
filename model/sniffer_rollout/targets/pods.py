"""Reads what Kubernetes says of pods: a server's URL, what keeps a pod from serving, how often it was started again.

Pure functions over the API's JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Json = Mapping[str, Any]

REST_PORT = 8501
_PORT_NAME = "rest"
_TRANSIENT_REASONS = ("ContainerCreating", "PodInitializing")
_UNKNOWN, _NODE_LOST = "Unknown", "NodeLost"
_ENDED_PHASES = ("Succeeded", "Failed")


def is_leaving(pod: Json) -> bool:
    """Whether the pod has ended, or was told to."""
    return "deletionTimestamp" in pod["metadata"] or pod.get("status", {}).get("phase") in _ENDED_PHASES


def base_url(pod: Json) -> str | None:
    """`http://ip:port` of the model server in a running pod, by its container port `rest`, else REST_PORT."""
    status = pod.get("status", {})
    address = status.get("podIP")
    if not address or status.get("phase") != "Running" or is_leaving(pod) or on_lost_node(pod):
        return None
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports", ())]
    port = next((port["containerPort"] for port in ports if port.get("name") == _PORT_NAME), REST_PORT)
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def without_node(pod: Json) -> str | None:
    """Why the scheduler finds no node for the pod; None when it has one, or has not been looked at yet."""
    for condition in pod.get("status", {}).get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"pod {pod['metadata']['name']} has no node ({condition.get('message') or condition.get('reason')})"
    return None


def on_lost_node(pod: Json) -> str | None:
    """Why nobody knows what the pod does: its node does not answer Kubernetes. None otherwise."""
    status = pod.get("status", {})
    if status.get("phase") != _UNKNOWN and status.get("reason") != _NODE_LOST:
        return None
    node, why = pod["spec"].get("nodeName", "unknown"), status.get("message") or status.get("reason") or _UNKNOWN
    return f"pod {pod['metadata']['name']} is on the node {node}, which does not answer ({why})"


def start(pod: Json) -> str | None:
    """What a pod that has a node waits for before its containers start, such as a volume; None otherwise."""
    if pod.get("status", {}).get("phase") != "Pending" or without_node(pod):
        return None
    waiting = [container.get("state", {}).get("waiting") or {} for container in _containers(pod)]
    reasons = [text for each in waiting if (text := each.get("message") or each.get("reason"))]
    return f"pod {pod['metadata']['name']} has not started ({', '.join(dict.fromkeys(reasons)) or 'Pending'})"


def problem(pod: Json) -> str | None:
    """What keeps a pod that has a node from serving for long: no image, a crash loop. None otherwise."""
    name = pod["metadata"]["name"]
    for container in _containers(pod):
        state = container.get("state", {})
        waiting, ended = state.get("waiting"), state.get("terminated")
        if waiting and waiting.get("reason") not in (None, *_TRANSIENT_REASONS):
            reason = ": ".join(text for text in (waiting["reason"], waiting.get("message")) if text)
            return f"pod {name}, container {container['name']}: {reason}{_last_end(container)}"
        if ended and ended.get("exitCode"):
            return f"pod {name}, container {container['name']}: ended with {_end(ended)}"
    return None


def recovery(pod: Json) -> str | None:
    """What was started again after a failure and is not ready yet: between two crashes this looks like a good start."""
    name = pod["metadata"]["name"]
    for container in _containers(pod):
        failed = container.get("lastState", {}).get("terminated") or {}
        if failed.get("exitCode") and not container.get("ready"):
            count = container.get("restartCount", 0)
            return f"pod {name}, container {container['name']}: started again {count} times{_last_end(container)}"
    return None


def restarts(pod: Json) -> dict[str, int]:
    """How often each of the pod's own containers was started again, by `POD/CONTAINER`; side-cars are left out."""
    name, found = pod["metadata"]["name"], pod.get("status", {}).get("containerStatuses") or ()
    return {f"{name}/{each['name']}": int(each.get("restartCount", 0)) for each in found}


def not_created(deployment: Json) -> str | None:
    """Why the Deployment cannot make all its pods, for example a quota; None when it can."""
    for condition in (deployment.get("status") or {}).get("conditions") or ():
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            name = deployment["metadata"]["name"]
            return f"pods of {name} cannot be created ({condition.get('message') or condition.get('reason')})"
    return None


def _containers(pod: Json) -> Iterator[Json]:
    status = pod.get("status", {})
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def _last_end(container: Json) -> str:
    ended = container.get("lastState", {}).get("terminated")
    return f" (it ended last with {_end(ended)})" if ended else ""


def _end(ended: Json) -> str:
    return f"{ended.get('reason')}, exit status {ended.get('exitCode')}"
