"""Who may do what in the cluster: to Kubernetes, and to AWS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.manifests import Manifests, Render, Resource
from support.network_policy import Labels, selects

from sniffer_rollout.aspired import Aspired
from sniffer_rollout.targets.kubernetes import KubernetesTarget, canary_deployment
from sniffer_rollout.targets.kubernetes_api import KubernetesApi

S3_ACTIONS = {"s3:ListBucket", "s3:GetObject", "s3:PutObject"}
"""What any program of ours does to S3: none deletes, changes an access list or reads an older version."""

CONFIG_MAPS = ("tf-serving-aspired", "tf-serving-aspired-canary")

Asked = tuple[str, str, str | None, bool]
"""Verb, resource, name, and whether in all namespaces."""


def roles_of(manifests: Manifests, kind: str, account: str, namespace: str = "sniffer") -> Iterator[Resource]:
    """The rules that a service account has by bindings of that kind."""
    for binding in manifests.of_kind(f"{kind}Binding"):
        subjects = [(each["kind"], each["name"], each["namespace"]) for each in binding["subjects"]]
        if ("ServiceAccount", account, namespace) in subjects:
            yield from manifests.get(kind, binding["roleRef"]["name"])["rules"]


def may(
    manifests: Manifests,
    account: str,
    verb: str,
    resource: str,
    name: str | None = None,
    namespace: str = "sniffer",
    kind: str = "Role",
) -> bool:
    """Whether the account may do that to the resource of that name (None: to any)."""
    return any(
        verb in rule["verbs"] and resource in rule["resources"] and name in rule.get("resourceNames", [name])
        for rule in roles_of(manifests, kind, account, namespace)
    )


def test_bindings_join_roles_and_accounts_that_are_there(overlay: Manifests) -> None:
    ours = {each["metadata"]["name"] for each in overlay.of_kind("ServiceAccount")}
    for kind in ("Role", "ClusterRole"):
        bound = {each["roleRef"]["name"] for each in overlay.of_kind(f"{kind}Binding")}
        assert bound == {each["metadata"]["name"] for each in overlay.of_kind(kind)}
        for binding in overlay.of_kind(f"{kind}Binding"):
            for subject in binding["subjects"]:
                assert subject["namespace"] == "airflow" or subject["name"] in ours


def test_no_right_is_given_by_a_wildcard(overlay: Manifests) -> None:
    for role in [*overlay.of_kind("Role"), *overlay.of_kind("ClusterRole")]:
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert "secrets" not in rule["resources"]


class AskedApi(KubernetesApi):
    """The Kubernetes API as the rollout sees it: answers with what our manifests make, and notes what it was asked."""

    def __init__(self, deployment: Resource) -> None:
        self._deployment = deployment
        self._pod = {**deployment["spec"]["template"], "status": {}}
        self._pod["metadata"] = {**self._pod["metadata"], "name": "tf-serving-1"}
        self.asked: set[Asked] = set()

    def _note(self, path: str, *verbs: str) -> None:
        *_, first, second = path.split("/")
        everywhere = "/namespaces/" not in path
        named = first in ("configmaps", "deployments", "pods")
        resource, name = (first, second) if named else (second, None)
        self.asked |= {(verb, resource, name, everywhere) for verb in verbs}

    def list_all(self, path: str, **query: str) -> list[Resource]:
        return list(self.get(path, **query)["items"])

    def get(self, path: str, **query: str) -> Resource:
        self._note(path, "list")
        return {"items": [self._pod] if path.endswith("/pods") else []}

    def find(self, path: str) -> Resource | None:
        self._note(path, "get")
        return self._deployment if "/deployments/" in path else None

    def apply(self, path: str, body: Resource, *, force: bool) -> None:
        self._note(path, "patch", "create")

    def merge(self, path: str, body: Resource) -> None:
        self._note(path, "patch")

    def delete(self, path: str) -> bool:
        self._note(path, "delete")
        return True


@pytest.fixture(scope="module")
def asked_by_rollout(render: Render) -> set[Asked]:
    """Everything that a rollout asks of Kubernetes."""
    aspired = Aspired.of([3], canary=3)
    api = AskedApi(render("overlays/gpu").get("Deployment", "tf-serving"))
    servers = KubernetesTarget(api, "sniffer", "tf-serving", config_map="tf-serving-aspired")
    servers.mode()
    servers.read_aspired()
    servers.apply(aspired)
    servers.replicas()
    with servers.canary() as canary:
        canary.apply(aspired)
        canary.read_aspired()
        canary.replicas()
    servers.tidy()
    return api.asked


def test_the_rollout_may_do_what_it_does(overlay: Manifests, asked_by_rollout: set[Asked]) -> None:
    for verb, resource, name, everywhere in asked_by_rollout:
        kind = "ClusterRole" if everywhere else "Role"
        # Pods have names that nobody knows beforehand.
        wanted = None if resource == "pods" else name
        assert may(overlay, "sniffer-rollout", verb, resource, wanted, kind=kind), (verb, resource, name)


def test_the_rollout_may_do_no_more_than_it_does(overlay: Manifests, asked_by_rollout: set[Asked]) -> None:
    for kind in ("Role", "ClusterRole"):
        done = {
            (verb, resource) for verb, resource, _, everywhere in asked_by_rollout if everywhere == (kind != "Role")
        }
        rules = list(roles_of(overlay, kind, "sniffer-rollout"))
        assert {(verb, resource) for rule in rules for verb in rule["verbs"] for resource in rule["resources"]} == done


def test_nobody_but_the_rollout_may_delete_anything_of_ours(overlay: Manifests) -> None:
    """The trainer has no right in Kubernetes at all; Airflow deletes pods; the rollout its canary."""
    deleting = {
        (subject["name"], resource, tuple(rule.get("resourceNames", ())))
        for kind in ("Role", "ClusterRole")
        for binding in overlay.of_kind(f"{kind}Binding")
        for subject in binding["subjects"]
        for rule in overlay.get(kind, binding["roleRef"]["name"])["rules"]
        if {"delete", "deletecollection"} & set(rule["verbs"])
        for resource in rule["resources"]
    }
    airflow = {(f"airflow-{name}", "pods", ()) for name in ("scheduler", "worker", "triggerer")}
    canary = {("deployments", ("tf-serving-canary",)), ("configmaps", ("tf-serving-aspired-canary",))}
    assert deleting == {("sniffer-rollout", *each) for each in canary} | airflow
    assert list(roles_of(overlay, "Role", "sniffer-trainer")) == []


def test_the_rollout_may_not_touch_what_is_not_its_own(overlay: Manifests) -> None:
    def rollout_may(verb: str, resource: str, name: str) -> bool:
        return may(overlay, "sniffer-rollout", verb, resource, name)

    assert not rollout_may("patch", "configmaps", "sniffer-settings")
    assert not rollout_may("patch", "deployments", "tf-serving")
    assert not rollout_may("delete", "deployments", "tf-serving")


def test_a_canary_is_beside_the_service_and_as_protected_as_the_server(
    render: Render, labels: dict[str, Labels]
) -> None:
    gpu = render("overlays/gpu")
    made = canary_deployment(gpu.get("Deployment", "tf-serving"), *CONFIG_MAPS, "one")
    canary = made["spec"]["template"]
    assert canary["metadata"]["labels"].items() >= labels["canary"].items()
    assert not selects(
        {"matchLabels": gpu.get("Service", "tf-serving")["spec"]["selector"]}, canary["metadata"]["labels"]
    )
    assert (
        canary["spec"]["securityContext"]
        == gpu.get("Deployment", "tf-serving")["spec"]["template"]["spec"]["securityContext"]
    )
    assert {"name": "tf-serving-aspired-canary", "optional": True} in [
        each.get("configMap") for each in canary["spec"]["volumes"]
    ]


@pytest.mark.parametrize("account", ["airflow-scheduler", "airflow-worker", "airflow-triggerer"])
def test_airflow_may_run_pods_and_nothing_else(overlay: Manifests, account: str) -> None:
    needed = {
        "pods": {"create", "get", "list", "watch", "patch", "delete"},
        "pods/log": {"get"},
        "pods/exec": {"create", "get"},
        "events": {"list", "watch"},
    }
    rules = list(roles_of(overlay, "Role", account, "airflow"))
    assert {resource: set(rule["verbs"]) for rule in rules for resource in rule["resources"]} == needed
    assert not list(roles_of(overlay, "ClusterRole", account, "airflow"))


def test_only_the_trainer_writes_to_s3_and_only_models(k8s: Path) -> None:
    associations = yaml.safe_load((k8s / "eksctl.yaml").read_text())["iam"]["podIdentityAssociations"]
    writing = [
        (each["serviceAccountName"], resource)
        for each in associations
        for statement in each.get("permissionPolicy", {}).get("Statement", [])
        if "s3:PutObject" in statement["Action"]
        for resource in statement["Resource"]
    ]
    assert writing == [("sniffer-trainer", "arn:aws:s3:::${MODELS_BUCKET}/*")]


def test_only_the_rollout_gets_a_token_for_the_cluster(everything: Manifests) -> None:
    with_token = {
        pod["spec"]["serviceAccountName"] for _, pod in everything.pods() if pod["spec"]["automountServiceAccountToken"]
    }
    assert with_token == {"sniffer-rollout"}
    assert all(each["automountServiceAccountToken"] is False for each in everything.of_kind("ServiceAccount"))


def test_aws_rights_are_given_to_accounts_that_are_there(k8s: Path, everything: Manifests) -> None:
    associations = yaml.safe_load((k8s / "eksctl.yaml").read_text())["iam"]["podIdentityAssociations"]
    named = {each["serviceAccountName"] for each in associations if each["namespace"] == "sniffer"}
    ours = {each["metadata"]["name"] for each in everything.of_kind("ServiceAccount")}
    assert named == ours - {"sniffer-migrate"}
    for each in associations:
        for statement in each.get("permissionPolicy", {}).get("Statement", []):
            assert not any("*" in action for action in statement["Action"])
            assert {action for action in statement["Action"] if action.startswith("s3:")} <= S3_ACTIONS
            assert all(resource.startswith("arn:aws:s3:::${") for resource in statement["Resource"])
