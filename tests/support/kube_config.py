"""Airflow's Connection to a stand-in of Kubernetes."""

from __future__ import annotations

import json

from sniffer_local.airflow import AirflowConnection


def kube_config(url: str) -> str:
    """A kubeconfig for that API server, as JSON: the namespace `sniffer`, without credentials."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "sniffer"}}],
            "users": [{"name": "u", "user": {}}],
            "current-context": "c",
        }
    )


def kubernetes_connection(url: str) -> AirflowConnection:
    """`kubernetes_default` to it."""
    return AirflowConnection("kubernetes_default", "kubernetes", extra={"kube_config": kube_config(url)})
