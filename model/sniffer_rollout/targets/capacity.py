"""Reads from what Kubernetes says of nodes and pods where one more pod finds room: CPU, memory, GPUs, all it asks for.

Pure functions over the API's JSON. The scheduler looks at more (affinity, volumes, ports), so "no" is sure and "yes" is
a good guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

Json = Mapping[str, Any]
Amounts = Mapping[str, Decimal]
"""How much of each resource, by its name; CPU in cores, memory in bytes."""

GPU = "nvidia.com/gpu"
_PODS = "pods"
_ENDED_PHASES = ("Succeeded", "Failed")
_POD_LEVEL = ("cpu", "memory")


@dataclass(frozen=True, slots=True)
class Room:
    """The node that has room for one more pod, or None; `lacking` says of the others what each has too little of."""

    node: str | None
    lacking: Mapping[str, tuple[str, ...]]

    @property
    def any_gpu(self) -> bool:
        """Whether some node would have had the GPUs."""
        return any(GPU not in names for names in self.lacking.values())


def requested_gpus(pod_spec: Json) -> int:
    """How many GPUs a pod of that spec takes."""
    return int(requests(pod_spec).get(GPU, 0))


def requests(pod_spec: Json) -> Amounts:
    """What the scheduler reserves for a pod: its containers and side-cars together, or an init container that asks for

    more than all that runs beside it; and the overhead of its runtime.
    """
    running = _total(_asked(container) for container in pod_spec["containers"])
    most: dict[str, Decimal] = {}
    side_cars: dict[str, Decimal] = {}
    for container in pod_spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            side_cars = _total((side_cars, _asked(container)))
            most = _largest(most, side_cars)
        else:
            most = _largest(most, _total((side_cars, _asked(container))))
    found = _largest(_total((running, side_cars)), most)
    # Kubernetes 1.34: a pod may say for itself what all its containers share.
    shared = _amounts((pod_spec.get("resources") or {}).get("requests"))
    found |= {name: amount for name, amount in shared.items() if name in _POD_LEVEL}
    return _total((found, _amounts(pod_spec.get("overhead"))))


def find_room(nodes: Iterable[Json], pods: Sequence[Json], pod_spec: Json) -> Room:
    """A node on which one more pod of that spec fits: what can be allocated, less what the pods there reserve."""
    wanted = {**requests(pod_spec), _PODS: Decimal(1)}
    lacking: dict[str, tuple[str, ...]] = {}
    for node in nodes:
        name = str(node["metadata"]["name"])
        if not _is_open(node, pod_spec):
            continue
        here = [pod for pod in pods if pod["spec"].get("nodeName") == name and not _has_ended(pod)]
        taken = _total([{_PODS: Decimal(len(here))}, *(requests(pod["spec"]) for pod in here)])
        there = _amounts(node["status"].get("allocatable"))
        short = [
            resource
            for resource, amount in wanted.items()
            if amount > 0 and there.get(resource, Decimal(0)) - taken.get(resource, Decimal(0)) < amount
        ]
        if not short:
            return Room(name, {})
        lacking[name] = tuple(sorted(short))
    return Room(None, lacking)


def _has_ended(pod: Json) -> bool:
    return pod.get("status", {}).get("phase") in _ENDED_PHASES


def _asked(container: Json) -> dict[str, Decimal]:
    """A container's requests; a limit stands for a request that is not there."""
    resources = container.get("resources") or {}
    return _amounts(resources.get("limits")) | _amounts(resources.get("requests"))


def _amounts(quantities: Json | None) -> dict[str, Decimal]:
    return {name: parse_quantity(quantity) for name, quantity in (quantities or {}).items()}


def _total(parts: Iterable[Amounts]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for part in parts:
        for name, amount in part.items():
            found[name] = found.get(name, Decimal(0)) + amount
    return found


def _largest(one: Amounts, other: Amounts) -> dict[str, Decimal]:
    return {name: max(one.get(name, Decimal(0)), other.get(name, Decimal(0))) for name in {*one, *other}}


def _is_open(node: Json, pod_spec: Json) -> bool:
    labels, selector = node["metadata"].get("labels", {}), pod_spec.get("nodeSelector") or {}
    conditions = {condition["type"]: condition["status"] for condition in node["status"].get("conditions", ())}
    return (
        conditions.get("Ready") == "True"
        and not node["spec"].get("unschedulable")
        and all(labels.get(key) == value for key, value in selector.items())
        and all(_is_tolerated(taint, pod_spec.get("tolerations") or ()) for taint in node["spec"].get("taints") or ())
    )


def _is_tolerated(taint: Json, tolerations: Iterable[Json]) -> bool:
    """https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/"""
    return taint["effect"] == "PreferNoSchedule" or any(
        toleration.get("key") in (None, taint["key"])
        and toleration.get("effect") in (None, "", taint["effect"])
        and (toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", ""))
        for toleration in tolerations
    )
