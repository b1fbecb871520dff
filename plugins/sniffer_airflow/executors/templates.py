"""The pod of each program: the templates of k8s/pods, with the images that Kustomize names, and what a task changes.

Out: what KubernetesPodOperator starts from.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from kubernetes.client import models as k8s
from kubernetes.utils.quantity import parse_quantity

from sniffer.core.errors import SettingsError
from sniffer.core.variables import CONSUMERS, DATABASE_URL

TEMPLATES_VARIABLE = "SNIFFER_POD_TEMPLATES"
"""A folder laid out as k8s/, with templates in pods/ and images in components/images/, in the place of our own."""

GPU_VARIABLE = "SNIFFER_TRAINER_GPU"
"""`1`: trainings ask for a GPU."""

SPOT_VARIABLE = "SNIFFER_SCAN_SPOT"
"""`1`: pods of scans may run on spot nodes, and prefer those."""

_SHIPPED = Path(__file__).with_name("k8s")
"""In a wheel, which holds a copy."""
_IN_CHECKOUT = Path(__file__).parents[3] / "k8s"

_FLEET, _TRAINER = "sniffer", "sniffer_model"
_TEMPLATES = {_FLEET: "fleet", _TRAINER: "trainer", "sniffer_rollout": "rollout"}
_CONSUMERS_FLAG = "--consumers="
_MIB = 1 << 20


def manifests() -> Path:
    """The folder of templates and images: SNIFFER_POD_TEMPLATES, or what we ship. Raises SettingsError without one."""
    chosen = os.environ.get(TEMPLATES_VARIABLE)
    folder = Path(chosen) if chosen else _SHIPPED if _SHIPPED.is_dir() else _IN_CHECKOUT
    if not (folder / "pods").is_dir():
        raise SettingsError(f"no pod templates in {folder}/pods: set {TEMPLATES_VARIABLE} to a folder laid out as k8s/")
    return folder


def pod_template(package: str, *, mysql: bool = True) -> dict[str, Any]:
    """The template for the programs of that package, images as components/images says; MySQL's address if wanted."""
    template: dict[str, Any] = yaml.safe_load((manifests() / "pods" / f"{_TEMPLATES[package]}.yaml").read_text())
    images = _images()
    for container in template["spec"]["containers"]:
        container["image"] = images[container["image"]]
        if not mysql:
            container["env"] = [each for each in container["env"] if each["name"] != DATABASE_URL.name]
    return template


def namespaces() -> list[str]:
    """Where the templates start pods, each once. SettingsError for one that does not say."""
    found: set[str] = set()
    for package, name in _TEMPLATES.items():
        namespace = pod_template(package)["metadata"].get("namespace")
        if not namespace:
            raise SettingsError(
                f"{manifests() / 'pods' / name}.yaml has no metadata.namespace: say where its pods start"
            )
        found.add(namespace)
    return sorted(found)


def pod_changes(package: str) -> k8s.V1Pod | None:
    """What the settings change in that template: a training on a GPU, scans on spot nodes."""
    asked = {_TRAINER: (GPU_VARIABLE, "trainer-gpu"), _FLEET: (SPOT_VARIABLE, "fleet-spot")}
    variable, name = asked.get(package, ("", ""))
    if os.environ.get(variable) != "1":
        return None
    return PodGenerator.deserialize_model_dict(yaml.safe_load((manifests() / "pods" / f"{name}.yaml").read_text()))


def fit_consumers(container: k8s.V1Container, words: Sequence[str]) -> None:
    """Give the container resources for as many consumers as the words ask for: the template's are for its own number.

    The producer counts as one more.
    """
    asked = [word.removeprefix(_CONSUMERS_FLAG) for word in words if word.startswith(_CONSUMERS_FLAG)]
    usual = [each.value for each in container.env or () if each.name == CONSUMERS.name and each.value]
    if not asked or not usual or container.resources is None:
        return
    factor = Decimal(int(asked[-1]) + 1) / (int(usual[-1]) + 1)
    for amounts in (container.resources.requests, container.resources.limits):
        for name in amounts or ():
            wanted = parse_quantity(amounts[name]) * factor
            if name == "cpu":
                amounts[name] = f"{math.ceil(wanted * 1000)}m"
            elif name == "memory":
                amounts[name] = f"{math.ceil(wanted / _MIB)}Mi"


def _images() -> dict[str, str]:
    """Each image by the name that the manifests use, with registry and tag."""
    listed = yaml.safe_load((manifests() / "components" / "images" / "kustomization.yaml").read_text())["images"]
    return {image["name"]: _reference(image) for image in listed}


def _reference(image: dict[str, str]) -> str:
    name = image.get("newName", image["name"])
    return f"{name}@{image['digest']}" if "digest" in image else f"{name}:{image['newTag']}"
