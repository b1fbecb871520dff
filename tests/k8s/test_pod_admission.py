"""Which pods the cluster takes: those that read the Secrets of their role alone, and whose images are pinned."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from support.admission import Write, refusals, warnings
from support.manifests import DIGEST, Manifests, Render, Resource, pinned

from sniffer_rollout.targets.kubernetes import canary_deployment

CONTROLLER = "system:serviceaccount:kube-system:replicaset-controller"
AIRFLOW = "system:serviceaccount:airflow:airflow-scheduler"

SECRETS = {
    "tf-serving": {"sniffer-aws-serving"},
    "sniffer-fleet": {"sniffer-database-scan", "sniffer-aws-fleet", "sniffer-curve"},
    "sniffer-trainer": {"sniffer-database-trainer", "sniffer-aws-trainer"},
    "sniffer-rollout": {"sniffer-database-rollout", "sniffer-aws-rollout"},
    "sniffer-migrate": {"sniffer-database-migrate"},
    "sniffer-review": {"sniffer-database-review", "sniffer-aws-review", "sniffer-review", "sniffer-review-coop"},
}
"""What the pods of each account read, and no others."""


@pytest.fixture(scope="module")
def gpu(render: Render) -> Manifests:
    return render("overlays/gpu")


@pytest.fixture(scope="module")
def ours(everything: Manifests) -> dict[str, Resource]:
    """Every pod that is ever made, its images pinned, and a canary."""
    cluster = pinned(everything)
    server = cluster.get("Deployment", "tf-serving")
    canary = canary_deployment(server, "tf-serving-aspired", "tf-serving-aspired-canary", "one")["spec"]["template"]
    return dict([*cluster.pods(), ("tf-serving-canary", canary)])


@pytest.fixture
def fleet(ours: dict[str, Resource]) -> Resource:
    return copy.deepcopy(ours["sniffer-fleet"])


def creation(pod: Resource, user: str = CONTROLLER, namespace: str = "sniffer") -> Write:
    return Write(user, "CREATE", "", "pods", "pod-1", pod, namespace=namespace)


def named(pod: Resource) -> set[str]:
    """The Secrets that a pod of ours names, found in its text whatever the field is called."""
    text = yaml.safe_dump(pod["spec"])
    return set(re.findall(r"(?:secretName: |secretKeyRef:\n\s+key: \w+\n\s+name: |secretRef:\n\s+name: )(\S+)", text))


def test_every_pod_that_we_ship_is_admitted(gpu: Manifests, ours: dict[str, Resource]) -> None:
    assert len(ours) == 9
    for name, pod in ours.items():
        assert refusals(gpu, creation(pod)) == [], name
    for name in ("sniffer-fleet", "sniffer-trainer", "sniffer-rollout"):
        assert refusals(gpu, creation(ours[name], AIRFLOW)) == []


def test_each_role_may_read_what_its_pods_do_and_no_more(ours: dict[str, Resource]) -> None:
    found: dict[str, set[str]] = {}
    for pod in ours.values():
        found.setdefault(pod["spec"]["serviceAccountName"], set()).update(named(pod))
    assert found == SECRETS


def base(pod: Resource) -> Resource:
    found: Resource = pod["spec"]["containers"][0]
    return found


def variable(secret: str) -> Resource:
    return {"name": "X", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}


def volume(secret: str) -> Resource:
    return {"name": "x", "secret": {"secretName": secret}}


def projected(secret: str) -> Resource:
    return {"name": "x", "projected": {"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": secret}}]}}


WAYS: list[Callable[[Resource, str], object]] = [
    lambda pod, secret: base(pod)["env"].append(variable(secret)),
    lambda pod, secret: base(pod)["envFrom"].append({"secretRef": {"name": secret, "optional": True}}),
    lambda pod, secret: pod["spec"]["volumes"].append(volume(secret)),
    lambda pod, secret: pod["spec"]["volumes"].append(projected(secret)),
    lambda pod, secret: pod["spec"].update(initContainers=[{"name": "i", "image": DIGEST, "env": [variable(secret)]}]),
    lambda pod, secret: pod["spec"].update(
        initContainers=[{"name": "i", "image": DIGEST, "envFrom": [{"secretRef": {"name": secret}}]}]
    ),
]
"""How a pod gets at a Secret."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("user", [CONTROLLER, AIRFLOW, "admin"])
def test_no_pod_reads_the_secret_of_another_role(
    gpu: Manifests, fleet: Resource, way: Callable[[Resource, str], object], user: str
) -> None:
    admitted = copy.deepcopy(fleet)
    way(admitted, "sniffer-aws-fleet")
    assert refusals(gpu, creation(admitted, user)) == []
    for secret in ("sniffer-database-migrate", "sniffer-database-rollout", "anything"):
        refused = copy.deepcopy(fleet)
        way(refused, secret)
        [said] = refusals(gpu, creation(refused, user))
        assert "of the service account sniffer-fleet" in said and "not of its role" in said


def test_another_account_or_none_means_other_secrets_or_none(gpu: Manifests, fleet: Resource) -> None:
    for change in ({"serviceAccountName": "sniffer-trainer"}, {"serviceAccountName": "default"}):
        pod = copy.deepcopy(fleet)
        pod["spec"].update(change)
        assert len(refusals(gpu, creation(pod))) == 1
    fleet["spec"].pop("serviceAccountName")
    [said] = refusals(gpu, creation(fleet))
    assert "of the service account default" in said


def test_a_pod_without_secrets_needs_no_account_and_other_namespaces_are_their_own(
    gpu: Manifests, fleet: Resource
) -> None:
    plain = {"metadata": {"name": "x"}, "spec": {"containers": [{"name": "x", "image": f"busybox{DIGEST}"}]}}
    assert refusals(gpu, creation(plain)) == []
    WAYS[0](fleet, "airflow-metadata")
    assert refusals(gpu, creation(fleet, namespace="airflow")) == []


def test_a_driver_that_is_handed_a_secret_is_refused(gpu: Manifests, fleet: Resource) -> None:
    driver = {"driver": "x", "nodePublishSecretRef": {"name": "sniffer-aws-fleet"}}
    fleet["spec"]["volumes"].append({"name": "x", "csi": driver})
    assert len(refusals(gpu, creation(fleet))) == 1


def test_a_container_to_debug_with_gets_no_secret(gpu: Manifests, fleet: Resource) -> None:
    def added(**fields: object) -> list[str]:
        pod = copy.deepcopy(fleet)
        pod["spec"]["ephemeralContainers"] = [{"name": "d", "image": "busybox", **fields}]
        return refusals(gpu, Write("admin", "UPDATE", "", "pods/ephemeralcontainers", "pod-1", pod, fleet))

    assert added() == []
    assert added(env=[{"name": "A", "value": "b"}]) == []
    assert added(env=[variable("sniffer-database-scan")]) != []
    assert added(envFrom=[{"secretRef": {"name": "sniffer-database-scan"}}]) != []


def test_airflow_starts_pods_of_its_three_programs_only(gpu: Manifests, ours: dict[str, Resource]) -> None:
    """Its scheduler may start any pod here; migrations may do everything in the database."""
    for name in ("sniffer-migrate", "tf-serving", "sniffer-review"):
        [said] = refusals(gpu, creation(ours[name], AIRFLOW))
        assert said.startswith("Airflow starts pods of the service accounts sniffer-fleet")


def workload(kind: str, pod: Resource, operation: str, namespace: str) -> Write:
    group = "batch" if kind == "jobs" else "apps"
    return Write("admin", operation, group, kind, "w", {"spec": {"template": pod}}, namespace=namespace)


@pytest.mark.parametrize("namespace", ["sniffer", "airflow"])
@pytest.mark.parametrize("image", ["sniffer-bot/fleet:0.1.0", "sniffer-bot/fleet", "x@sha256:12", f"x{DIGEST}:latest"])
def test_an_image_without_its_digest_is_refused_by_name(
    gpu: Manifests, fleet: Resource, namespace: str, image: str
) -> None:
    for part in ("containers", "initContainers"):
        pod = copy.deepcopy(fleet)
        pod["spec"].setdefault(part, [{"name": "i"}])[0]["image"] = image
        writes = [creation(pod, namespace=namespace)]
        for operation in ("CREATE", "UPDATE"):
            writes += [workload(kind, pod, operation, namespace) for kind in ("deployments", "statefulsets", "jobs")]
        for write in writes:
            [said] = refusals(gpu, write)
            assert said.startswith(f"the image {image} is not pinned to a digest: run docker/pin_images.py")


def test_elsewhere_nobody_asks_for_digests(gpu: Manifests, fleet: Resource) -> None:
    base(fleet)["image"] = "busybox"
    assert refusals(gpu, creation(fleet, namespace="monitoring")) == []


def test_a_first_try_without_digests_is_warned_of(render: Render, fleet: Resource) -> None:
    cpu = render("overlays/cpu")
    base(fleet)["image"] = "sniffer-bot/fleet:0.1.0"
    assert refusals(cpu, creation(fleet)) == []
    [said] = warnings(cpu, creation(fleet))
    assert "sniffer-bot/fleet:0.1.0 is not pinned" in said
    WAYS[0](fleet, "sniffer-database-migrate")
    assert len(refusals(cpu, creation(fleet))) == 1


@pytest.mark.parametrize("folder", ["load-balancer", "overlays/cpu", "fleet"])
def test_what_is_applied_names_no_image_that_pin_images_would_not_pin(render: Render, folder: str, k8s: Path) -> None:
    listed = yaml.safe_load((k8s / "components" / "images" / "kustomization.yaml").read_text())["images"]
    pinnable = {each.get("newName", each["name"]) for each in listed}
    for container in render(folder).containers():
        assert re.split("[@:]", container["image"])[0] in pinnable, container["image"]
