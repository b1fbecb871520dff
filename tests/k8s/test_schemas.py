"""Every manifest is what the Kubernetes API of our version takes, without a field that it does not know."""

from __future__ import annotations

import copy
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from kubernetes.utils import parse_quantity
from support.manifests import KUBECTL, Manifests, Render, Resource
from support.second_apply import differences


@pytest.fixture(scope="module")
def version(k8s: Path) -> str:
    """The one place that names the cluster's version."""
    return str(yaml.safe_load((k8s / "eksctl.yaml").read_text())["metadata"]["version"])


def test_the_schemas_are_those_of_the_clusters_version(version: str) -> None:
    # The package would silently take the next older one.
    assert f"{version}.0" in kubernetes_validate.utils.all_versions()


def test_every_manifest_is_valid(manifests: Manifests, version: str) -> None:
    for resource in manifests.resources:
        kubernetes_validate.validate(resource, version, strict=True)


def test_unknown_fields_and_wrong_types_are_found(render: Render, version: str) -> None:
    deployment = render("overlays/gpu").get("Deployment", "tf-serving")
    for path, value in (("replica", 2), ("revisionHistoryLimit", "three")):
        broken = copy.deepcopy(deployment)
        broken["spec"][path] = value
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(broken, version, strict=True)


def kubectl_says(resources: Iterable[Resource]) -> str:
    """Standard error of a kubectl that reads the resources into Kubernetes' own types, and changes nothing."""
    command = [str(KUBECTL), "set", "env", "--local", "-f", "-", "A=b", "-o", "name"]
    text = yaml.safe_dump_all(resources)
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False).stderr


def test_quantities_and_durations_are_ones(manifests: Manifests) -> None:
    """The schemas call them strings. kubectl complains of what has no environment, but it must have read it."""
    assert "unable to decode" not in kubectl_says(manifests.resources)


def test_a_quantity_that_is_none_is_found(render: Render) -> None:
    pod = copy.deepcopy(render("pods").get("Pod", "sniffer-fleet"))
    assert kubectl_says([pod]) == ""
    pod["spec"]["containers"][0]["resources"]["limits"]["memory"] = "8GiB"
    assert "unable to decode" in kubectl_says([pod])


def test_every_pod_fits_a_node_of_its_kind(everything: Manifests, k8s: Path) -> None:
    """With half a core and 2 GiB to spare for what runs on every node."""
    sizes = {"m6i.xlarge": (4, 16 << 30), "g4dn.xlarge": (4, 16 << 30)}
    groups = {
        each["name"]: each.get("instanceType") or each["instanceTypes"][0]
        for each in yaml.safe_load((k8s / "eksctl.yaml").read_text())["managedNodeGroups"]
    }
    trainer = copy.deepcopy(everything.get("Pod", "sniffer-trainer"))
    trainer["spec"]["containers"] = yaml.safe_load((k8s / "pods" / "trainer-gpu.yaml").read_text())["spec"][
        "containers"
    ]
    for name, pod in [*everything.pods(), ("trainer-gpu", trainer)]:
        spec = pod["spec"]
        side_cars = [each for each in spec.get("initContainers", []) if each.get("restartPolicy") == "Always"]
        asked = [each["resources"] for each in [*spec["containers"], *side_cars]]
        on_gpu = any("nvidia.com/gpu" in each["limits"] for each in asked)
        cores, memory = sizes[groups["gpu" if on_gpu else "general"]]
        assert sum(parse_quantity(each["requests"]["cpu"]) for each in asked) <= cores - 0.5, name
        assert sum(parse_quantity(each["requests"]["memory"]) for each in asked) <= memory - (2 << 30), name
        for each in asked:
            assert parse_quantity(each["requests"]["memory"]) <= parse_quantity(each["limits"]["memory"]), name
            assert parse_quantity(each["limits"]["memory"]) <= memory - (2 << 30), name


def test_nothing_is_defined_twice(everything: Manifests) -> None:
    names = Counter(
        (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in everything.resources
    )
    assert [name for name, times in names.items() if times > 1] == []


def test_everything_is_in_our_namespace(manifests: Manifests) -> None:
    whole_cluster = {"Namespace", "ClusterRole", "ClusterRoleBinding", "PriorityClass"}
    whole_cluster |= {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    for resource in manifests.resources:
        namespace = resource["metadata"].get("namespace")
        assert namespace == (None if resource["kind"] in whole_cluster else "sniffer"), resource["metadata"]["name"]


def test_selectors_select_the_pods_beside_them(everything: Manifests) -> None:
    """Services, disruption budgets and deployments select by labels; a typo in one would select nothing, silently."""
    labels = [pod["metadata"]["labels"] for _, pod in everything.pods()]
    for kind in ("Service", "PodDisruptionBudget", "Deployment"):
        for resource in everything.of_kind(kind):
            selector = resource["spec"]["selector"]
            wanted = selector if kind == "Service" else selector["matchLabels"]
            assert sum(wanted.items() <= each.items() for each in labels) == 1, (kind, resource["metadata"]["name"])


def test_ports_are_named_where_they_are_asked_for(everything: Manifests) -> None:
    pods = [pod for _, pod in everything.pods()]
    for service in everything.of_kind("Service"):
        (pod,) = [each for each in pods if service["spec"]["selector"].items() <= each["metadata"]["labels"].items()]
        ports = {
            port["name"]: port["containerPort"] for each in pod["spec"]["containers"] for port in each.get("ports", [])
        }
        for port in service["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"]


def test_the_autoscaler_scales_a_deployment_that_leaves_its_replicas_alone(overlay: Manifests) -> None:
    (autoscaler,) = overlay.of_kind("HorizontalPodAutoscaler")
    target = autoscaler["spec"]["scaleTargetRef"]
    assert "replicas" not in overlay.get(target["kind"], target["name"])["spec"]


def test_a_load_balancer_is_only_there_when_asked_for_and_lets_in_only_named_ranges(
    overlay: Manifests, render: Render
) -> None:
    assert {service["spec"].get("type", "ClusterIP") for service in overlay.of_kind("Service")} == {"ClusterIP"}
    opened = render("load-balancer")
    ranges = opened.get("Service", "tf-serving-external")["spec"]["loadBalancerSourceRanges"]
    assert ranges and "0.0.0.0/0" not in ranges
    (rule,) = opened.get("NetworkPolicy", "serving-from-outside")["spec"]["ingress"]
    assert [source["ipBlock"]["cidr"] for source in rule["from"]] == ranges


def test_a_second_apply_changes_nothing(manifests: Manifests, version: str) -> None:
    """What the API server would add or write otherwise is written so from the start: kubectl says `unchanged`."""
    assert [found for each in manifests.resources for found in differences(each, version)] == []


def test_what_a_second_apply_would_change_is_found(render: Render, version: str) -> None:
    gpu = render("overlays/gpu")
    policy = copy.deepcopy(gpu.get("NetworkPolicy", "serving"))
    del policy["spec"]["ingress"][0]["ports"][0]["protocol"]
    assert differences(policy, version) == ["serving.spec.ingress[0].ports[0] lacks protocol"]
    admission = copy.deepcopy(gpu.get("ValidatingAdmissionPolicy", "sniffer-rollout-pods"))
    del admission["spec"]["matchConstraints"]["resourceRules"][0]["scope"]
    assert len(differences(admission, version)) == 1
    for value in (1, "1024Mi", "0.5", "1000m", "2000", "08"):
        deployment = copy.deepcopy(gpu.get("Deployment", "tf-serving"))
        deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] = value
        assert len(differences(deployment, version)) == 1, value
