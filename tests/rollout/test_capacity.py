"""Where one more pod fits: all it asks for against what the nodes can give and the pods there reserve."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from sniffer_rollout.targets.capacity import GPU, find_room, requests


def node(*, ready: str = "True", name: str = "n", allocatable: dict[str, str] | None = None, **spec: Any) -> Any:
    there = {"cpu": "3920m", "memory": "14Gi", "pods": "29", GPU: "1"} | (allocatable or {})
    status = {"allocatable": there, "conditions": [{"type": "Ready", "status": ready}]}
    return {"metadata": {"name": name, "labels": {"zone": "a"}}, "spec": spec, "status": status}


def taking(phase: str = "Running", on: str = "n", **amounts: str) -> dict[str, Any]:
    asked = {GPU if name == "gpu" else name: amount for name, amount in amounts.items()}
    return {
        "spec": {"nodeName": on, "containers": [{"resources": {"requests": asked}}, {}]},
        "status": {"phase": phase},
    }


TAINT = {"key": GPU, "effect": "NoSchedule"}
TOLERATION = {"key": GPU, "operator": "Exists", "effect": "NoSchedule"}
SERVER = {"requests": {"cpu": "2", "memory": "6Gi"}, "limits": {GPU: 1, "memory": "12Gi"}}


@pytest.mark.parametrize(
    ("of", "pods", "spec", "lacking"),
    [
        (node(), [], {}, None),
        (node(), [taking(gpu="1")], {}, (GPU,)),
        (node(allocatable={GPU: "2"}), [taking(gpu="1"), taking(gpu="1", on="other")], {}, None),
        (node(), [taking("Succeeded", gpu="1", cpu="3")], {}, None),
        (node(), [taking(cpu="2")], {}, ("cpu",)),
        (node(), [taking(cpu="1920m")], {}, None),
        (node(), [taking(memory="8193Mi")], {}, ("memory",)),
        (node(), [taking(memory="8Gi")], {}, None),
        (node(allocatable={"pods": "1"}), [taking()], {}, ("pods",)),
        (node(), [taking("Pending", gpu="1", cpu="3", memory="9Gi")], {}, ("cpu", "memory", GPU)),
        (node(allocatable={GPU: "0"}), [], {}, (GPU,)),
        (node(), [], {"overhead": {"memory": "9Gi"}}, ("memory",)),
        (node(), [], {"initContainers": [{"resources": {"requests": {"cpu": "4"}}}]}, ("cpu",)),
        (node(), [], {"nodeSelector": {"zone": "a"}}, None),
        (node(taints=[TAINT]), [], {"tolerations": [TOLERATION]}, None),
        (node(taints=[TAINT | {"effect": "PreferNoSchedule"}]), [], {}, None),
    ],
)
def test_a_pod_fits_where_all_it_asks_for_is_left(
    of: dict[str, Any], pods: list[dict[str, Any]], spec: dict[str, Any], lacking: tuple[str, ...] | None
) -> None:
    room = find_room([of], pods, {"containers": [{"resources": SERVER}], **spec})
    assert room.node == ("n" if lacking is None else None)
    assert room.lacking == ({} if lacking is None else {"n": lacking})
    assert room.any_gpu == (lacking is not None and GPU not in lacking)


@pytest.mark.parametrize(
    ("of", "spec"),
    [
        (node(ready="False"), {}),
        (node(unschedulable=True), {}),
        (node(), {"nodeSelector": {"zone": "b"}}),
        (node(taints=[TAINT]), {}),
        (node(taints=[TAINT | {"value": "x"}]), {"tolerations": [{"key": GPU}]}),
    ],
)
def test_a_node_that_takes_no_such_pods_is_left_out(of: dict[str, Any], spec: dict[str, Any]) -> None:
    room = find_room([of], [], {"containers": [{"resources": SERVER}], **spec})
    assert (room.node, room.lacking) == (None, {})


def test_a_pod_reserves_what_its_containers_ask_for_at_their_most() -> None:
    def asks(cpu: str, **more: Any) -> dict[str, Any]:
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    side_car = asks("100m", restartPolicy="Always")
    spec: dict[str, Any] = {"containers": [asks("1"), asks("500m")], "initContainers": [asks("900m"), side_car]}
    assert requests(spec) == {"cpu": Decimal("1.6")}
    # An init container that is started after a side-car runs beside it.
    assert requests(spec | {"initContainers": [side_car, asks("1900m")]}) == {"cpu": Decimal("2.0")}
    assert requests(spec | {"resources": {"requests": {"cpu": "3"}}}) == {"cpu": Decimal(3)}
    assert requests({"containers": [{"resources": {"limits": {"cpu": "2"}}}]}) == {"cpu": Decimal(2)}
