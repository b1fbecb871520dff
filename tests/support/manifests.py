"""The cluster's manifests, rendered by kubectl as `kubectl apply -k` does it, without a cluster."""

from __future__ import annotations

import copy
import functools
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

KUBECTL = Path(sys.executable).with_name("kubectl")

Resource = dict[str, Any]
"""A document of Kubernetes, or a part of one, as it was parsed."""


@dataclass(frozen=True)
class Manifests:
    """What one folder renders to."""

    resources: tuple[Resource, ...]

    def of_kind(self, kind: str) -> list[Resource]:
        """All resources of that kind."""
        return [resource for resource in self.resources if resource["kind"] == kind]

    def get(self, kind: str, name: str) -> Resource:
        """The one resource of that kind and name."""
        (found,) = [each for each in self.of_kind(kind) if each["metadata"]["name"] == name]
        return found

    def pods(self) -> Iterator[tuple[str, Resource]]:
        """Every pod, or template of one, with the name of what makes it."""
        for resource in self.resources:
            if resource["kind"] == "Pod":
                yield resource["metadata"]["name"], resource
            elif "template" in resource.get("spec", {}):
                yield resource["metadata"]["name"], resource["spec"]["template"]

    def containers(self) -> Iterator[Resource]:
        """Every container, init containers and side-cars included."""
        for _, pod in self.pods():
            yield from pod["spec"].get("initContainers", [])
            yield from pod["spec"]["containers"]


Render = Callable[[str], Manifests]
"""Renders a folder of k8s/ by its name."""


DIGEST = "@sha256:" + "0" * 64
"""Of some image."""


def pinned(manifests: Manifests) -> Manifests:
    """The same with a digest for each image, as `docker/pin_images.py` sees to it."""
    found = Manifests(copy.deepcopy(manifests.resources))
    for container in found.containers():
        container["image"] = re.split("[@:]", container["image"])[0] + DIGEST
    return found


@functools.cache
def render_folder(folder: Path) -> Manifests:
    """What `kubectl apply -k FOLDER` would send; its errors fail the test."""
    done = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, f"kustomize warns: {done.stderr}"
    return Manifests(tuple(yaml.safe_load_all(done.stdout)))
