"""Every pod keeps to the Pod Security Standard `restricted`, which both namespaces enforce: there is no exception."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from support import airflow_chart
from support.manifests import Manifests, Resource
from support.pod_security import violations


def test_every_pod_is_restricted(manifests: Manifests) -> None:
    assert {name: found for name, pod in manifests.pods() if (found := violations(pod["spec"]))} == {}


def test_both_namespaces_enforce_it(overlay: Manifests) -> None:
    for name in ("sniffer", "airflow"):
        labels = overlay.get("Namespace", name)["metadata"]["labels"]
        assert {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "warn", "audit")} == {"restricted"}


@pytest.fixture
def values(k8s: Path) -> Resource:
    """What Airflow's chart is given."""
    found: Resource = yaml.safe_load((k8s / "airflow-values.yaml").read_text())
    return found


def chart_violations(values: Resource) -> dict[str, list[str]]:
    return {name: found for name, pod in airflow_chart.pods(values) if (found := violations(pod))}


def test_every_pod_of_airflows_chart_is_restricted(values: Resource) -> None:
    assert chart_violations(values) == {}
    assert values["securityContexts"]["pod"].items() >= {"runAsUser": 50000, "runAsGroup": 0, "fsGroup": 0}.items()
    assert not values["workers"]["persistence"].get("fixPermissions")  # a container that runs as root


@pytest.mark.parametrize(
    ("change", "component"),
    [
        (lambda values: values["securityContexts"].pop("pod"), "scheduler"),
        (lambda values: values["triggerer"].update(securityContexts={"pod": {"runAsUser": 50000}}), "triggerer"),
        (
            lambda values: values["scheduler"].update(
                logGroomerSidecar={"securityContexts": {"container": {"privileged": True}}}
            ),
            "scheduler",
        ),
        (lambda values: values["apiServer"].update(extraContainers=[{"name": "proxy"}]), "apiServer"),
        (lambda values: values["statsd"].update(enabled=True), "statsd"),
    ],
)
def test_a_chart_that_is_not_restricted_is_found(
    values: Resource, change: Callable[[Resource], object], component: str
) -> None:
    change(values)
    assert component in chart_violations(values)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda spec: spec.update(hostNetwork=True), ["hostNetwork"]),
        (lambda spec: spec["volumes"].append({"name": "v", "hostPath": {"path": "/"}}), ["volume v"]),
        (lambda spec: spec["securityContext"].pop("runAsNonRoot"), ["runAsNonRoot"] * 3),
        (lambda spec: spec["securityContext"].update(runAsUser=0), ["runAsUser"] * 3),
        (lambda spec: spec["securityContext"].pop("seccompProfile"), ["seccompProfile"] * 3),
        (lambda spec: spec["containers"][0].pop("securityContext"), ["allowPrivilegeEscalation", "capabilities"]),
        (lambda spec: spec["initContainers"][0]["securityContext"].update(privileged=True), ["privileged"]),
        (lambda spec: spec["containers"][0]["ports"][0].update(hostPort=80), ["hostPort"]),
    ],
)
def test_a_pod_that_is_not_restricted_is_found(
    overlay: Manifests, change: Callable[[Resource], object], found: list[str]
) -> None:
    spec = copy.deepcopy(overlay.get("Deployment", "tf-serving")["spec"]["template"]["spec"])
    change(spec)
    assert [each.rpartition(": ")[2] for each in violations(spec)] == found


def test_nothing_is_written_but_to_volumes_with_a_limit(manifests: Manifests) -> None:
    for name, pod in manifests.pods():
        assert all("sizeLimit" in volume["emptyDir"] for volume in pod["spec"]["volumes"] if "emptyDir" in volume), name
    for container in manifests.containers():
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_every_container_says_what_it_needs(manifests: Manifests) -> None:
    for container in manifests.containers():
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), container["name"]
        assert "memory" in container["resources"]["limits"], container["name"]
