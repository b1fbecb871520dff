"""Who may talk to whom in the cluster, and to what outside it."""

from __future__ import annotations

from itertools import product

import pytest
from support.manifests import Manifests, Render
from support.network_policy import Labels, Peer, is_open, selects

INTERNET, MYSQL, METADATA, POD_IDENTITY = "8.8.8.8", "10.0.3.4", "169.254.169.254", "169.254.170.23"

PODS = [
    "tf-serving",
    "canary",
    "sniffer-fleet",
    "sniffer-trainer",
    "sniffer-rollout",
    "sniffer-migrate",
    "sniffer-producer",
    "sniffer-consumer",
    "sniffer-review",
]

TALKS = {
    ("sniffer-fleet", "tf-serving", 8501),
    ("sniffer-producer", "tf-serving", 8501),
    ("sniffer-consumer", "tf-serving", 8501),
    ("sniffer-rollout", "tf-serving", 8501),
    ("sniffer-rollout", "canary", 8501),
    ("sniffer-consumer", "sniffer-producer", 5555),
}


def test_pods_talk_to_whom_they_must_and_to_nobody_else(everything: Manifests, labels: dict[str, Labels]) -> None:
    assert set(PODS) == labels.keys()
    # What a client may do beyond is that the fleet, which may ask any model server, may ask a canary.
    harmless = {(pod, "canary", 8501) for pod in ("sniffer-fleet", "sniffer-producer", "sniffer-consumer")}
    open_ = {
        (client, server, port)
        for client, server, port in product(PODS, PODS, (8501, 8500, 8090, 5555))
        if is_open(everything, "Egress", labels[client], ("sniffer", labels[server]), port)
        and is_open(everything, "Ingress", labels[server], ("sniffer", labels[client]), port)
    }
    assert open_ == TALKS | harmless


SCANNING = {"sniffer-fleet", "sniffer-producer", "sniffer-consumer"}
USING_S3 = SCANNING | {"tf-serving", "canary", "sniffer-trainer", "sniffer-rollout", "sniffer-review"}
USING_MYSQL = SCANNING | {"sniffer-trainer", "sniffer-rollout", "sniffer-migrate", "sniffer-review"}


@pytest.mark.parametrize(
    ("address", "port", "allowed"),
    [
        (INTERNET, 443, USING_S3),
        (POD_IDENTITY, 80, USING_S3),
        (MYSQL, 3306, USING_MYSQL),
        (MYSQL, 6443, {"sniffer-rollout"}),
        (INTERNET, 3306, set()),
        (INTERNET, 80, set()),
        (METADATA, 80, set()),
        (METADATA, 443, set()),
    ],
)
def test_pods_reach_outside_only_what_they_need(
    everything: Manifests, labels: dict[str, Labels], address: str, port: int, allowed: set[str]
) -> None:
    assert {name for name in PODS if is_open(everything, "Egress", labels[name], address, port)} == allowed


def test_every_pod_can_resolve_names(everything: Manifests, labels: dict[str, Labels]) -> None:
    dns: Peer = ("kube-system", {"k8s-app": "kube-dns"})
    for name, protocol in product(PODS, ("UDP", "TCP")):
        assert is_open(everything, "Egress", labels[name], dns, 53, protocol)


def test_the_model_server_is_closed_to_other_namespaces_but_monitoring(
    overlay: Manifests, labels: dict[str, Labels]
) -> None:
    # Another namespace's pods may call themselves what they like.
    for namespace, allowed in (("monitoring", True), ("airflow", False), ("default", False)):
        client = (namespace, labels["sniffer-fleet"])
        assert is_open(overlay, "Ingress", labels["tf-serving"], client, 8501) == allowed


def test_the_review_page_is_reached_from_the_ingress_controller_alone(
    everything: Manifests, labels: dict[str, Labels]
) -> None:
    for namespace, port, allowed in (("ingress", 8090, True), ("ingress", 80, False), ("airflow", 8090, False)):
        client = (namespace, {"app.kubernetes.io/name": "controller"})
        assert is_open(everything, "Ingress", labels["sniffer-review"], client, port) == allowed
    assert not is_open(everything, "Ingress", labels["sniffer-review"], INTERNET, 8090)


def test_only_the_load_balancers_ranges_come_from_outside(
    overlay: Manifests, render: Render, labels: dict[str, Labels]
) -> None:
    assert not is_open(overlay, "Ingress", labels["tf-serving"], "10.1.2.3", 8501)
    opened = render("load-balancer")
    assert is_open(opened, "Ingress", labels["tf-serving"], "10.1.2.3", 8501)
    assert not is_open(opened, "Ingress", labels["tf-serving"], INTERNET, 8501)


def test_no_policy_is_without_a_pod(everything: Manifests, labels: dict[str, Labels]) -> None:
    for policy in everything.of_kind("NetworkPolicy"):
        assert any(selects(policy["spec"]["podSelector"], each) for each in labels.values()), policy["metadata"]["name"]


def test_everything_is_closed_to_begin_with(overlay: Manifests) -> None:
    spec = overlay.get("NetworkPolicy", "default-deny")["spec"]
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
