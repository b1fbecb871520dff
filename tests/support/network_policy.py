"""Network policies, evaluated as Kubernetes defines them, for pods of our namespace."""

from __future__ import annotations

import ipaddress

from support.manifests import Manifests, Resource

Labels = dict[str, str]
Peer = str | tuple[str, Labels]
"""The other end of a connection: an address, or a pod as (namespace, labels)."""


def selects(selector: Resource, labels: Labels) -> bool:
    """Whether a label selector selects what has these labels."""
    expressions = selector.get("matchExpressions", [])
    assert all(each["operator"] == "In" for each in expressions), "no other operator is evaluated here"
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(each["key"]) in each["values"] for each in expressions
    )


def is_peer(rule: Resource, other: Peer) -> bool:
    """Whether one entry of `from` or `to` means the other end: an address, or a pod as (namespace, labels)."""
    if isinstance(other, str):
        block, address = rule.get("ipBlock", {}), ipaddress.ip_address(other)
        return (
            "cidr" in block
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


def is_open(
    manifests: Manifests, direction: str, labels: Labels, other: Peer, port: int, protocol: str = "TCP"
) -> bool:
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
