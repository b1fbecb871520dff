"""Who may do what in the cluster, and who may talk to whom."""

import importlib
import ipaddress
from itertools import product

import pytest
import yaml

INTERNET, MYSQL, METADATA, POD_IDENTITY = "8.8.8.8", "10.0.3.4", "169.254.169.254", "169.254.170.23"


def roles_of(manifests, kind, account, namespace="sniffer"):
    """The rules that a service account has by bindings of that kind."""
    for binding in manifests.of_kind(f"{kind}Binding"):
        subjects = [(each["kind"], each["name"], each["namespace"]) for each in binding["subjects"]]
        if ("ServiceAccount", account, namespace) in subjects:
            yield from manifests.get(kind, binding["roleRef"]["name"])["rules"]


def may(manifests, account, verb, resource, name=None, namespace="sniffer", kind="Role"):
    """Whether the account may do that to the resource of that name (None: to any)."""
    return any(
        verb in rule["verbs"] and resource in rule["resources"] and name in rule.get("resourceNames", [name])
        for rule in roles_of(manifests, kind, account, namespace)
    )


def test_bindings_join_roles_and_accounts_that_are_there(overlay):
    ours = {each["metadata"]["name"] for each in overlay.of_kind("ServiceAccount")}
    for kind in ("Role", "ClusterRole"):
        bound = {each["roleRef"]["name"] for each in overlay.of_kind(f"{kind}Binding")}
        assert bound == {each["metadata"]["name"] for each in overlay.of_kind(kind)}
        for binding in overlay.of_kind(f"{kind}Binding"):
            for subject in binding["subjects"]:
                assert subject["namespace"] == "airflow" or subject["name"] in ours


def test_no_right_is_given_by_a_wildcard(overlay):
    for role in [*overlay.of_kind("Role"), *overlay.of_kind("ClusterRole")]:
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert "secrets" not in rule["resources"]


class AskedApi:
    """The Kubernetes API as the rollout sees it: answers with what our manifests make, and notes what it was asked."""

    def __init__(self, deployment):
        self._deployment = deployment
        self._pod = {**deployment["spec"]["template"], "status": {}}
        self._pod["metadata"] = {**self._pod["metadata"], "name": "tf-serving-1"}
        self.asked = set()

    def _note(self, path, *verbs):
        *_, first, second = path.split("/")
        everywhere = "/namespaces/" not in path
        named = first in ("configmaps", "deployments", "pods")
        resource, name = (first, second) if named else (second, None)
        self.asked |= {(verb, resource, name, everywhere) for verb in verbs}

    def get(self, path, **query):
        self._note(path, "list")
        return {"items": [self._pod] if path.endswith("/pods") else []}

    def find(self, path):
        self._note(path, "get")
        return self._deployment if "/deployments/" in path else None

    def apply(self, path, body, *, force):
        self._note(path, "patch", "create")

    def merge(self, path, body):
        self._note(path, "patch")

    def delete(self, path):
        self._note(path, "delete")
        return True


@pytest.fixture(scope="module")
def asked_by_rollout(render):
    """(verb, resource, name, whether in all namespaces) of everything that a rollout asks of Kubernetes."""
    target = pytest.importorskip("sniffer_rollout.targets.kubernetes", reason="the rollout is not there yet")
    aspired = importlib.import_module("sniffer_rollout.aspired").Aspired.of([3], canary=3)
    api = AskedApi(render("overlays/gpu").get("Deployment", "tf-serving"))
    servers = target.KubernetesTarget(api, "sniffer", "tf-serving", config_map="tf-serving-aspired")
    servers.mode()
    servers.read_aspired()
    servers.apply(aspired)
    servers.replicas()
    with servers.canary(aspired) as canary:
        canary.read_aspired()
        canary.replicas()
    servers.tidy()
    return api.asked


def test_the_rollout_may_do_what_it_does(overlay, asked_by_rollout):
    for verb, resource, name, everywhere in asked_by_rollout:
        kind = "ClusterRole" if everywhere else "Role"
        # Pods have names that nobody knows beforehand.
        wanted = None if resource == "pods" else name
        assert may(overlay, "sniffer-rollout", verb, resource, wanted, kind=kind), (verb, resource, name)


def test_the_rollout_may_do_no_more_than_it_does(overlay, asked_by_rollout):
    for kind in ("Role", "ClusterRole"):
        done = {
            (verb, resource) for verb, resource, _, everywhere in asked_by_rollout if everywhere == (kind != "Role")
        }
        rules = list(roles_of(overlay, kind, "sniffer-rollout"))
        assert {(verb, resource) for rule in rules for verb in rule["verbs"] for resource in rule["resources"]} == done


def test_the_rollout_may_not_touch_what_is_not_its_own(overlay):
    def rollout_may(verb, resource, name):
        return may(overlay, "sniffer-rollout", verb, resource, name)

    assert not rollout_may("patch", "configmaps", "sniffer-settings")
    assert not rollout_may("patch", "deployments", "tf-serving")
    assert not rollout_may("delete", "deployments", "tf-serving")


def test_a_canary_is_beside_the_service_and_as_protected_as_the_server(render, labels):
    target = pytest.importorskip("sniffer_rollout.targets.kubernetes", reason="the rollout is not there yet")
    gpu = render("overlays/gpu")
    made = target.canary_deployment(
        gpu.get("Deployment", "tf-serving"), "tf-serving-aspired", "tf-serving-aspired-canary"
    )
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
def test_airflow_may_run_pods_and_nothing_else(overlay, account):
    needed = {
        "pods": {"create", "get", "list", "watch", "patch", "delete"},
        "pods/log": {"get"},
        "pods/exec": {"create", "get"},
        "events": {"list", "watch"},
    }
    rules = list(roles_of(overlay, "Role", account, "airflow"))
    assert {resource: set(rule["verbs"]) for rule in rules for resource in rule["resources"]} == needed
    assert not list(roles_of(overlay, "ClusterRole", account, "airflow"))


def test_only_the_rollout_gets_a_token_for_the_cluster(everything):
    with_token = {
        pod["spec"]["serviceAccountName"] for _, pod in everything.pods() if pod["spec"]["automountServiceAccountToken"]
    }
    assert with_token == {"sniffer-rollout"}
    assert all(each["automountServiceAccountToken"] is False for each in everything.of_kind("ServiceAccount"))


def test_aws_rights_are_given_to_accounts_that_are_there(k8s, everything):
    associations = yaml.safe_load((k8s / "eksctl.yaml").read_text())["iam"]["podIdentityAssociations"]
    named = {each["serviceAccountName"] for each in associations if each["namespace"] == "sniffer"}
    ours = {each["metadata"]["name"] for each in everything.of_kind("ServiceAccount")}
    assert named == ours - {"sniffer-migrate"}
    for each in associations:
        for statement in each.get("permissionPolicy", {}).get("Statement", []):
            assert not any("*" in action for action in statement["Action"])
            assert all(resource.startswith("arn:aws:s3:::${") for resource in statement["Resource"])


# --- the network: policies are evaluated as Kubernetes defines them, for the labels that our pods have ---------------


def selects(selector, labels):
    """Whether a label selector selects what has these labels."""
    operators = {"In": lambda value, wanted: value in wanted}
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        operators[each["operator"]](labels.get(each["key"]), each["values"])
        for each in selector.get("matchExpressions", [])
    )


def is_peer(rule, other):
    """Whether one entry of `from` or `to` means the other end: an address, or a pod as (namespace, labels)."""
    if isinstance(other, str):
        block, address = rule.get("ipBlock"), ipaddress.ip_address(other)
        return (
            bool(block)
            and address in ipaddress.ip_network(block["cidr"])
            and not any(address in ipaddress.ip_network(hole) for hole in block.get("except", []))
        )
    namespace, labels = other
    if "ipBlock" in rule:
        return False
    in_namespace = (
        selects(rule["namespaceSelector"], {"kubernetes.io/metadata.name": namespace})
        if "namespaceSelector" in rule
        else namespace == "sniffer"
    )
    return in_namespace and selects(rule.get("podSelector", {}), labels)


def is_open(manifests, direction, labels, other, port, protocol="TCP"):
    """Whether a pod of our namespace with these labels may connect (Egress) or be connected to (Ingress)."""
    ours = [
        each["spec"]
        for each in manifests.of_kind("NetworkPolicy")
        if direction in each["spec"]["policyTypes"] and selects(each["spec"]["podSelector"], labels)
    ]
    assert ours, "no policy, so everything would be open"
    peers, rules = {"Ingress": ("from", "ingress"), "Egress": ("to", "egress")}[direction]
    return any(
        any(is_peer(peer, other) for peer in rule[peers])
        and any(each["port"] == port and each.get("protocol", "TCP") == protocol for each in rule["ports"])
        for spec in ours
        for rule in spec.get(rules, [])
    )


@pytest.fixture(scope="module")
def labels(everything):
    """Labels of every pod by the name of what makes it; and of a canary, as the rollout makes it from the server's."""
    found = {name: pod["metadata"]["labels"] for name, pod in everything.pods()}
    return found | {"canary": found["tf-serving"] | {"app.kubernetes.io/name": "tf-serving-canary"}}


PODS = [
    "tf-serving",
    "canary",
    "sniffer-fleet",
    "sniffer-trainer",
    "sniffer-rollout",
    "sniffer-migrate",
    "sniffer-producer",
    "sniffer-consumer",
]

TALKS = {
    ("sniffer-fleet", "tf-serving", 8501),
    ("sniffer-producer", "tf-serving", 8501),
    ("sniffer-consumer", "tf-serving", 8501),
    ("sniffer-rollout", "tf-serving", 8501),
    ("sniffer-rollout", "canary", 8501),
    ("sniffer-consumer", "sniffer-producer", 5555),
}


def test_pods_talk_to_whom_they_must_and_to_nobody_else(everything, labels):
    assert set(PODS) == labels.keys()
    # What a client may do beyond is that the fleet, which may ask any model server, may ask a canary.
    harmless = {(pod, "canary", 8501) for pod in ("sniffer-fleet", "sniffer-producer", "sniffer-consumer")}
    open_ = {
        (client, server, port)
        for client, server, port in product(PODS, PODS, (8501, 8500, 5555))
        if is_open(everything, "Egress", labels[client], ("sniffer", labels[server]), port)
        and is_open(everything, "Ingress", labels[server], ("sniffer", labels[client]), port)
    }
    assert open_ == TALKS | harmless


SCANNING = {"sniffer-fleet", "sniffer-producer", "sniffer-consumer"}
USING_S3 = SCANNING | {"tf-serving", "canary", "sniffer-trainer", "sniffer-rollout"}
USING_MYSQL = SCANNING | {"sniffer-trainer", "sniffer-rollout", "sniffer-migrate"}


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
def test_pods_reach_outside_only_what_they_need(everything, labels, address, port, allowed):
    assert {name for name in PODS if is_open(everything, "Egress", labels[name], address, port)} == allowed


def test_every_pod_can_resolve_names(everything, labels):
    dns = ("kube-system", {"k8s-app": "kube-dns"})
    for name, protocol in product(PODS, ("UDP", "TCP")):
        assert is_open(everything, "Egress", labels[name], dns, 53, protocol)


def test_the_model_server_is_closed_to_other_namespaces_but_monitoring(overlay, labels):
    # Another namespace's pods may call themselves what they like.
    for namespace, allowed in (("monitoring", True), ("airflow", False), ("default", False)):
        client = (namespace, labels["sniffer-fleet"])
        assert is_open(overlay, "Ingress", labels["tf-serving"], client, 8501) == allowed


def test_only_the_load_balancers_ranges_come_from_outside(overlay, render, labels):
    assert not is_open(overlay, "Ingress", labels["tf-serving"], "10.1.2.3", 8501)
    opened = render("load-balancer")
    assert is_open(opened, "Ingress", labels["tf-serving"], "10.1.2.3", 8501)
    assert not is_open(opened, "Ingress", labels["tf-serving"], INTERNET, 8501)


def test_no_policy_is_without_a_pod(everything, labels):
    for policy in everything.of_kind("NetworkPolicy"):
        assert any(selects(policy["spec"]["podSelector"], each) for each in labels.values()), policy["metadata"]["name"]


def test_everything_is_closed_to_begin_with(overlay):
    spec = overlay.get("NetworkPolicy", "default-deny")["spec"]
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
