"""Fixtures of the cluster's manifests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from support.imports import CHECKOUT
from support.manifests import Manifests, Render, render_folder
from support.network_policy import Labels

K8S = CHECKOUT / "k8s"


@pytest.fixture(scope="session")
def k8s() -> Path:
    """The folder of the manifests."""
    return K8S


@pytest.fixture(scope="session")
def with_load_balancer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An overlay like the GPU one with the review page, that opens the model server to the outside."""
    folder = tmp_path_factory.mktemp("overlay")
    up = os.path.relpath(K8S, folder)
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{up}/overlays/gpu"],
        "components": [f"{up}/components/{name}" for name in ("load-balancer", "review", "review-ingress", "images")],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return folder


@pytest.fixture(scope="session")
def render(with_load_balancer: Path) -> Render:
    """Renders a folder of k8s/, or `load-balancer`: the GPU overlay with that component and the review page."""
    return lambda name: render_folder(with_load_balancer if name == "load-balancer" else K8S / name)


@pytest.fixture(scope="session", params=["overlays/gpu", "overlays/cpu", "load-balancer", "pods", "fleet"])
def manifests(request: pytest.FixtureRequest, render: Render) -> Manifests:
    """Everything that is ever applied, one folder after the other."""
    return render(request.param)


@pytest.fixture(scope="session", params=["overlays/gpu", "overlays/cpu"])
def overlay(request: pytest.FixtureRequest, render: Render) -> Manifests:
    """Each of the overlays."""
    return render(request.param)


@pytest.fixture(scope="session")
def everything(render: Render) -> Manifests:
    """All there can be at a time: the GPU overlay, open to the outside, Airflow's pods, and a fleet over many pods."""
    return Manifests(sum((render(name).resources for name in ("load-balancer", "pods", "fleet")), ()))


@pytest.fixture(scope="session")
def settings(render: Render) -> dict[str, str]:
    """The settings that every process in the cluster gets, as its environment."""
    data = render("overlays/gpu").get("ConfigMap", "sniffer-settings")["data"]
    assert isinstance(data, dict)
    return data


@pytest.fixture(scope="session")
def labels(everything: Manifests) -> dict[str, Labels]:
    """Labels of every pod by the name of what makes it; and of a canary, as the rollout makes it from the server's."""
    found = {name: pod["metadata"]["labels"] for name, pod in everything.pods()}
    return found | {"canary": found["tf-serving"] | {"app.kubernetes.io/name": "tf-serving-canary"}}
