"""Fixtures of the cluster's manifests: rendered by kubectl as `kubectl apply -k` does it, without a cluster."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

K8S = Path(__file__).resolve().parents[2] / "k8s"
KUBECTL = Path(sys.executable).with_name("kubectl")

Resource = dict[str, Any]


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


@functools.cache
def render_folder(folder: Path) -> Manifests:
    """What `kubectl apply -k FOLDER` would send; its errors fail the test."""
    done = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, f"kustomize warns: {done.stderr}"
    return Manifests(tuple(yaml.safe_load_all(done.stdout)))


@pytest.fixture(scope="session")
def k8s() -> Path:
    """The folder of the manifests."""
    return K8S


@pytest.fixture(scope="session")
def with_load_balancer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An overlay like the GPU one that opens the model server to the outside."""
    folder = tmp_path_factory.mktemp("overlay")
    up = os.path.relpath(K8S, folder)
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{up}/overlays/gpu"],
        "components": [f"{up}/components/load-balancer"],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return folder


@pytest.fixture(scope="session")
def render(with_load_balancer: Path) -> Callable[[str], Manifests]:
    """Renders a folder of k8s/, or `load-balancer`: the GPU overlay with that component."""
    return lambda name: render_folder(with_load_balancer if name == "load-balancer" else K8S / name)


@pytest.fixture(scope="session", params=["overlays/gpu", "overlays/cpu", "load-balancer", "pods", "fleet"])
def manifests(request: pytest.FixtureRequest, render: Callable[[str], Manifests]) -> Manifests:
    """Everything that is ever applied, one folder after the other."""
    return render(request.param)


@pytest.fixture(scope="session", params=["overlays/gpu", "overlays/cpu"])
def overlay(request: pytest.FixtureRequest, render: Callable[[str], Manifests]) -> Manifests:
    """Each of the overlays."""
    return render(request.param)


@pytest.fixture(scope="session")
def everything(render: Callable[[str], Manifests]) -> Manifests:
    """All there can be at a time: the GPU overlay, open to the outside, Airflow's pods, and a fleet over many pods."""
    return Manifests(sum((render(name).resources for name in ("load-balancer", "pods", "fleet")), ()))


@pytest.fixture(scope="session")
def settings(render: Callable[[str], Manifests]) -> dict[str, str]:
    """The settings that every process in the cluster gets, as its environment."""
    data = render("overlays/gpu").get("ConfigMap", "sniffer-settings")["data"]
    assert isinstance(data, dict)
    return data
