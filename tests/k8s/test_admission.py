"""What the rollout may write in the cluster beyond what roles can say: the admission policies, evaluated."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
from support.admission import Write, compiled, refusals
from support.manifests import DIGEST, Manifests, Render, Resource, pinned

from sniffer_rollout.targets.kubernetes import DIGEST_ANNOTATION, canary_deployment

ROLLOUT = "system:serviceaccount:sniffer:sniffer-rollout"
NAMES = ("tf-serving-aspired", "tf-serving-aspired-canary")


@pytest.fixture(scope="module", params=["overlays/gpu", "overlays/cpu"])
def cluster(request: pytest.FixtureRequest, render: Render) -> Manifests:
    return pinned(render(request.param))


@pytest.fixture
def canary(cluster: Manifests) -> Resource:
    """A canary as the rollout makes it of the server that the manifests make."""
    made: Resource = canary_deployment(cluster.get("Deployment", "tf-serving"), *NAMES, "one")
    return copy.deepcopy(made)


@pytest.fixture
def pod(cluster: Manifests) -> Resource:
    """A pod of the model server as the API shows it."""
    made: Resource = copy.deepcopy(cluster.get("Deployment", "tf-serving")["spec"]["template"])
    made["metadata"] |= {"name": "tf-serving-1", "namespace": "sniffer", "ownerReferences": [{"kind": "ReplicaSet"}]}
    return made


def config_map(name: str, operation: str = "CREATE", **fields: object) -> Write:
    body = {"metadata": {"name": name}, "data": {"aspired.json": "{}"}} | fields
    return Write(ROLLOUT, operation, "", "configmaps", name, body, body if operation == "UPDATE" else None)


def deployment(body: Resource, operation: str = "CREATE") -> Write:
    return Write(ROLLOUT, operation, "apps", "deployments", body["metadata"]["name"], body)


def annotated(pod: Resource, change: Callable[[Resource], object]) -> Write:
    after = copy.deepcopy(pod)
    after["metadata"].setdefault("annotations", {})[DIGEST_ANNOTATION] = "abc"
    change(after)
    return Write(ROLLOUT, "UPDATE", "", "pods", pod["metadata"]["name"], after, pod)


def test_every_expression_compiles_and_every_policy_is_bound_and_fails_closed(cluster: Manifests) -> None:
    policies = cluster.of_kind("ValidatingAdmissionPolicy")
    for policy in policies:
        assert policy["spec"]["failurePolicy"] == "Fail"
        for part in ("matchConditions", "variables", "validations"):
            for each in policy["spec"].get(part, []):
                kind = compiled(each["expression"]).return_type().name()
                assert kind == "BOOL" or part == "variables", each
                if "messageExpression" in each:
                    assert compiled(each["messageExpression"]).return_type().name() in ("STRING", "DYN")
    bound = [each["spec"]["policyName"] for each in cluster.of_kind("ValidatingAdmissionPolicyBinding")]
    assert sorted(bound) == sorted(each["metadata"]["name"] for each in policies) and policies


def test_a_mistake_in_an_expression_is_found() -> None:
    with pytest.raises(Exception, match="undeclared reference"):
        compiled("objekt.spec.replicas <= 1")


def test_a_rollout_may_do_all_that_it_does(cluster: Manifests, canary: Resource, pod: Resource) -> None:
    for name in NAMES:
        assert refusals(cluster, config_map(name)) == []
        assert refusals(cluster, config_map(name, "UPDATE")) == []
    for operation in ("CREATE", "UPDATE"):
        assert refusals(cluster, deployment(canary, operation)) == []
    assert refusals(cluster, Write(ROLLOUT, "DELETE", "apps", "deployments", "tf-serving-canary")) == []
    assert refusals(cluster, Write(ROLLOUT, "DELETE", "", "configmaps", "tf-serving-aspired-canary")) == []
    assert refusals(cluster, annotated(pod, lambda _: None)) == []
    pod["metadata"].pop("annotations")
    assert refusals(cluster, annotated(pod, lambda _: None)) == []


def test_it_may_not_write_another_config_map_or_another_key(cluster: Manifests) -> None:
    for operation in ("CREATE", "UPDATE"):
        assert refusals(cluster, config_map("sniffer-settings", operation)) != []
    assert refusals(cluster, config_map(NAMES[0], data={"aspired.json": "{}", "other": ""})) != []
    assert refusals(cluster, config_map(NAMES[0], binaryData={"x": ""})) != []
    for name in ("sniffer-settings", "tf-serving-aspired"):
        assert refusals(cluster, Write(ROLLOUT, "DELETE", "", "configmaps", name)) != []


def container(body: Resource) -> Resource:
    found: Resource = body["spec"]["template"]["spec"]["containers"][0]
    return found


SECRET = {"name": "x", "valueFrom": {"secretKeyRef": {"name": "sniffer-database-migrate", "key": "k"}}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda body: body["metadata"].update(name="tf-serving"), "tf-serving-canary only"),
        (lambda body: body["metadata"].update(name="miner"), "tf-serving-canary only"),
        (lambda body: body["spec"].update(replicas=2), "one pod"),
        (
            lambda body: body["spec"]["template"]["metadata"]["labels"].update(
                {"app.kubernetes.io/name": "tf-serving"}
            ),
            "no Service",
        ),
        (lambda body: body["spec"]["template"]["metadata"].pop("labels"), "no Service"),
        (lambda body: body["spec"]["template"]["spec"].update(serviceAccountName="sniffer-trainer"), "service account"),
        (lambda body: body["spec"]["template"]["spec"].pop("serviceAccountName"), "service account"),
        (lambda body: body["spec"]["template"]["spec"].update(automountServiceAccountToken=True), "service account"),
        (lambda body: container(body).setdefault("env", []).append(SECRET), "no other Secret"),
        (
            lambda body: container(body).update(envFrom=[{"secretRef": {"name": "sniffer-aws-trainer"}}]),
            "no other Secret",
        ),
        (
            lambda body: body["spec"]["template"]["spec"]["volumes"].append(
                {"name": "s", "secret": {"secretName": "sniffer-curve"}}
            ),
            "no other Secret",
        ),
        (
            lambda body: body["spec"]["template"]["spec"]["volumes"].append(
                {"name": "s", "persistentVolumeClaim": {"claimName": "sniffer-training"}}
            ),
            "no other Secret",
        ),
        (lambda body: container(body).update(image=f"elsewhere/server{DIGEST}"), "images"),
        (
            lambda body: body["spec"]["template"]["spec"]["initContainers"][0].update(image=f"elsewhere/fleet{DIGEST}"),
            "images",
        ),
    ],
)
@pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
def test_it_may_make_no_other_deployment_than_a_canary(
    cluster: Manifests, canary: Resource, change: Callable[[Resource], object], message: str, operation: str
) -> None:
    change(canary)
    found = refusals(cluster, deployment(canary, operation))
    assert [message in each for each in found] == [True], found


def test_it_may_delete_only_the_canary(cluster: Manifests) -> None:
    assert refusals(cluster, Write(ROLLOUT, "DELETE", "apps", "deployments", "tf-serving")) != []


@pytest.mark.parametrize(
    "change",
    [
        lambda pod: pod["metadata"]["labels"].update({"app.kubernetes.io/name": "x"}),
        lambda pod: pod["metadata"].pop("labels"),
        lambda pod: pod["metadata"]["annotations"].update({"other": "1"}),
        lambda pod: pod["metadata"]["annotations"].update({"prometheus.io/port": "1"}),
        lambda pod: pod["metadata"]["annotations"].pop("prometheus.io/port"),
        lambda pod: pod["spec"]["containers"][0].update(image=f"elsewhere/server{DIGEST}"),
        lambda pod: pod["spec"].update(activeDeadlineSeconds=1),
        lambda pod: pod["metadata"].pop("ownerReferences"),
        lambda pod: pod["metadata"].update(finalizers=["x/y"]),
    ],
)
def test_it_may_change_nothing_of_a_pod_but_its_annotation(
    cluster: Manifests, pod: Resource, change: Callable[[Resource], object]
) -> None:
    assert refusals(cluster, annotated(pod, change)) != []


def test_it_may_not_touch_other_pods(cluster: Manifests, pod: Resource) -> None:
    pod["metadata"]["labels"]["app.kubernetes.io/component"] = "fleet"
    assert refusals(cluster, annotated(pod, lambda _: None)) == ["the rollout annotates pods of model servers only"]
    assert refusals(cluster, Write(ROLLOUT, "DELETE", "", "pods", "sniffer-fleet-1")) != []
    assert refusals(cluster, Write(ROLLOUT, "CREATE", "", "pods", "p", pod)) != []


def test_it_may_do_nothing_of_it_in_another_namespace(cluster: Manifests, canary: Resource) -> None:
    elsewhere = Write(ROLLOUT, "CREATE", "apps", "deployments", "tf-serving-canary", canary, namespace="airflow")
    assert refusals(cluster, elsewhere) != []


def test_others_are_not_concerned(cluster: Manifests, canary: Resource) -> None:
    canary["metadata"]["name"] = "anything"
    for user in ("admin", "system:serviceaccount:kube-system:deployment-controller"):
        assert refusals(cluster, Write(user, "CREATE", "apps", "deployments", "anything", canary)) == []
