"""Every manifest is what the Kubernetes API of our version takes, without a field that it does not know."""

import copy
from collections import Counter

import kubernetes_validate
import pytest
import yaml


@pytest.fixture(scope="module")
def version(k8s):
    """The one place that names the cluster's version."""
    return yaml.safe_load((k8s / "eksctl.yaml").read_text())["metadata"]["version"]


def test_the_schemas_are_those_of_the_clusters_version(version):
    # The package would silently take the next older one.
    assert f"{version}.0" in kubernetes_validate.utils.all_versions()


def test_every_manifest_is_valid(manifests, version):
    for resource in manifests.resources:
        kubernetes_validate.validate(resource, version, strict=True)


def test_unknown_fields_and_wrong_types_are_found(render, version):
    deployment = render("overlays/gpu").get("Deployment", "tf-serving")
    for path, value in (("replica", 2), ("revisionHistoryLimit", "three")):
        broken = copy.deepcopy(deployment)
        broken["spec"][path] = value
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(broken, version, strict=True)


def test_nothing_is_defined_twice(everything):
    names = Counter(
        (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in everything.resources
    )
    assert [name for name, times in names.items() if times > 1] == []


def test_everything_is_in_our_namespace(manifests):
    whole_cluster = {"Namespace", "ClusterRole", "ClusterRoleBinding", "PriorityClass"}
    for resource in manifests.resources:
        namespace = resource["metadata"].get("namespace")
        assert namespace == (None if resource["kind"] in whole_cluster else "sniffer"), resource["metadata"]["name"]


def test_selectors_select_the_pods_beside_them(everything):
    """Services, disruption budgets and deployments select by labels; a typo in one would select nothing, silently."""
    labels = [pod["metadata"]["labels"] for _, pod in everything.pods()]
    for kind in ("Service", "PodDisruptionBudget", "Deployment"):
        for resource in everything.of_kind(kind):
            selector = resource["spec"]["selector"]
            wanted = selector if kind == "Service" else selector["matchLabels"]
            assert sum(wanted.items() <= each.items() for each in labels) == 1, (kind, resource["metadata"]["name"])


def test_ports_are_named_where_they_are_asked_for(everything):
    pods = [pod for _, pod in everything.pods()]
    for service in everything.of_kind("Service"):
        (pod,) = [each for each in pods if service["spec"]["selector"].items() <= each["metadata"]["labels"].items()]
        ports = {
            port["name"]: port["containerPort"] for each in pod["spec"]["containers"] for port in each.get("ports", [])
        }
        for port in service["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"]


def test_the_autoscaler_scales_a_deployment_that_leaves_its_replicas_alone(overlay):
    (autoscaler,) = overlay.of_kind("HorizontalPodAutoscaler")
    target = autoscaler["spec"]["scaleTargetRef"]
    assert "replicas" not in overlay.get(target["kind"], target["name"])["spec"]


def test_a_load_balancer_is_only_there_when_asked_for_and_lets_in_only_named_ranges(overlay, render):
    assert {service["spec"].get("type", "ClusterIP") for service in overlay.of_kind("Service")} == {"ClusterIP"}
    opened = render("load-balancer")
    ranges = opened.get("Service", "tf-serving-external")["spec"]["loadBalancerSourceRanges"]
    assert ranges and "0.0.0.0/0" not in ranges
    (rule,) = opened.get("NetworkPolicy", "serving-from-outside")["spec"]["ingress"]
    assert [source["ipBlock"]["cidr"] for source in rule["from"]] == ranges
