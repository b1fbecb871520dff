"""What a second `kubectl apply` of the same manifests would change, though nothing did: it says `configured` then.

kubectl compares what is applied with what the API server keeps, field by field, and lists without a merge key as a
whole. So a difference is a list of ours to whose items the server added a default, or a quantity in another form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
from kubernetes.utils import parse_quantity

_CANONICAL = re.compile(r"(0|[1-9][0-9]*)([KMGTPE]i|[numkMGTPE])?")
DEFAULTED = {
    "io.k8s.api.networking.v1.NetworkPolicyPort": ("protocol",),
    "io.k8s.api.admissionregistration.v1.NamedRuleWithOperations": ("scope",),
    "io.k8s.api.autoscaling.v2.HPAScalingPolicy": ("periodSeconds",),
    "io.k8s.api.core.v1.ServiceAccountTokenProjection": ("expirationSeconds",),
    "io.k8s.api.batch.v1.PodFailurePolicyOnPodConditionsPattern": ("status",),
}
"""Fields that the API server fills in, of what is in lists without a merge key."""
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"


@cache
def _definitions(version: str) -> dict[str, Any]:
    folder = Path(kubernetes_validate.__file__).with_name("kubernetes-json-schema") / f"v{version}.0-local-strict"
    found: dict[str, Any] = json.loads((folder / "_definitions.json").read_text())["$defs"]
    return found


def differences(resource: dict[str, Any], version: str) -> list[str]:
    """Where in the resource a second apply would find a difference."""
    group, _, api = resource["apiVersion"].rpartition("/")
    definitions = _definitions(version)
    ending = f"{group.removesuffix('.k8s.io').partition('.')[0] or 'core'}.{api}.{resource['kind']}"
    (name,) = [each for each in definitions if each.startswith("io.k8s.api.") and each.endswith(f".{ending}")]
    return list(_in_object(resource, name, version, resource["metadata"]["name"], in_atomic_list=False))


def _in_object(value: dict[str, Any], kind: str, version: str, where: str, *, in_atomic_list: bool) -> Iterator[str]:
    if in_atomic_list:
        yield from (f"{where} lacks {field}" for field in DEFAULTED.get(kind, ()) if field not in value)
    schema = _definitions(version)[kind]
    for name, item in value.items():
        # Labels and the like have no properties; limits and requests have a schema for all of them.
        found = schema.get("properties", {}).get(name) or schema.get("additionalProperties") or {}
        yield from _in_value(item, found, version, f"{where}.{name}", in_atomic_list=in_atomic_list)


def _in_value(value: Any, schema: Any, version: str, where: str, *, in_atomic_list: bool) -> Iterator[str]:
    if not isinstance(schema, dict):
        return
    kind = schema.get("$ref", "").rpartition("/")[2]
    if kind == _QUANTITY:
        if not is_canonical(value):
            yield f"{where}: {value!r} is kept in another form"
    elif isinstance(value, list):
        atomic = "x-kubernetes-patch-merge-key" not in schema
        for number, item in enumerate(value):
            inside = in_atomic_list or atomic
            yield from _in_value(item, schema["items"], version, f"{where}[{number}]", in_atomic_list=inside)
    elif isinstance(value, dict) and kind:
        yield from _in_object(value, kind, version, where, in_atomic_list=in_atomic_list)
    elif isinstance(value, dict):
        for name, item in value.items():
            for_all = schema.get("additionalProperties")
            yield from _in_value(item, for_all, version, f"{where}.{name}", in_atomic_list=in_atomic_list)


def is_canonical(value: object) -> bool:
    """Whether the API server keeps a quantity as it is: a string, no fraction, the largest unit that leaves none."""
    if not isinstance(value, str) or not (match := _CANONICAL.fullmatch(value)):
        return False
    number, unit = int(match[1]), match[2] or ""
    step = 1024 if unit.endswith("i") else 1000
    return (number == 0 or number % step != 0) and parse_quantity(value) >= 0
