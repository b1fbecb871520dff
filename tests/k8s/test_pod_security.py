"""Every pod keeps to the Pod Security Standard `restricted`, which our namespace enforces: there is no exception."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
from support.manifests import Manifests, Resource
from support.pod_security import violations


def test_every_pod_is_restricted(manifests: Manifests) -> None:
    assert {name: found for name, pod in manifests.pods() if (found := violations(pod["spec"]))} == {}


def test_our_namespace_enforces_it(overlay: Manifests) -> None:
    (namespace,) = overlay.of_kind("Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


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
