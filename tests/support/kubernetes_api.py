"""A small Kubernetes API over real HTTP: the few endpoints of a rollout, with server-side apply and its conflicts.

Its kubelets bring a ConfigMap into a pod's folder when the pod is touched. (kmock knows no server-side apply, and its
server lives in an event loop, which our client, being synchronous, would block.)
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from support.http_server import HttpAnswer, HttpRequest, HttpServer

Answer = tuple[int, dict[str, Any]]
CONFIG_MAPS, DEPLOYMENTS, PODS = "configmaps", "deployments", "pods"

UNPLACED = {
    "phase": "Pending",
    "conditions": [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
        }
    ],
}
"""The status of a pod that the scheduler has no node for."""


@dataclass
class Pod:
    """A pod as the API shows it, and the folder where its ConfigMap is mounted."""

    name: str
    port: int
    mount: Path
    labels: dict[str, str]
    config_map: str = "tf-serving-aspired"
    annotations: dict[str, str] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=lambda: {"phase": "Running", "podIP": "127.0.0.1"})
    deleted_at: str = ""

    def document(self) -> dict[str, Any]:
        leaving = {"deletionTimestamp": self.deleted_at} if self.deleted_at else {}
        return {
            "metadata": {"name": self.name, "labels": self.labels, "annotations": self.annotations, **leaving},
            "spec": {
                "nodeName": "n2",
                "containers": [{"name": "tf-serving", "ports": [{"name": "rest", "containerPort": self.port}]}],
            },
            "status": self.status,
        }


class KubernetesServer(HttpServer):
    """One namespace, `sniffer`, with the Deployment `tf-serving`. `refuse` may answer (status, body) instead."""

    def __init__(self) -> None:
        self.config_maps: dict[str, dict[str, Any]] = {}
        self.owners: dict[str, str] = {}
        self.pods: list[Pod] = []
        self.nodes: list[dict[str, Any]] = []
        self.other_pods: list[dict[str, Any]] = []
        self.deployments = {"tf-serving": _deployment()}
        self.written: list[str] = []
        self.deleted: list[str] = []
        """What was created, and deleted, in that order."""
        self.pods_linger = False
        """A deleted Deployment's pods run on until the garbage collector has found them."""
        self.page, self.expired = 500, 0
        """Objects on a page at most; and how many tokens for a next one are too old."""
        self.denied: set[str] = set()
        """`VERB RESOURCE` that the account may not."""
        self.on_create: Callable[[str, dict[str, Any]], None] = lambda _name, _body: None
        self.refuse: Callable[[str, str], Answer | None] = lambda _method, _path: None
        self._lock = threading.Lock()
        super().__init__()

    def away_for(self, seconds: float, code: int = 503, message: str = "etcdserver: leader changed") -> None:
        """Answer so to everything for so long, from now."""
        until = time.monotonic() + seconds
        self.refuse = lambda _method, _path: _status(code, message) if time.monotonic() < until else None

    def aspired(self) -> dict[str, Any]:
        """What the servers' ConfigMap says, without the digests."""
        return {name: value for name, value in self._aspired().items() if name != "digests"}

    def digests(self) -> dict[str, str]:
        """The digests of the versions, as the servers' ConfigMap says."""
        found: dict[str, str] = self._aspired().get("digests", {})
        return found

    def _aspired(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.config_maps["tf-serving-aspired"]["data"]["aspired.json"])
        return found

    def edit(self, name: str, data: dict[str, str]) -> None:
        """Somebody else changes a ConfigMap, by hand."""
        self.config_maps[name] = {"metadata": {"name": name}, "data": data}
        self.owners[name] = "kubectl-edit"

    def respond(self, request: HttpRequest) -> HttpAnswer:
        body = json.loads(request.body) if request.body and request.body != b"null" else None
        status, document = self._answer(request.method, request.path, request.headers, body)
        return HttpAnswer(status, json.dumps(document).encode(), [("Content-Type", "application/json")])

    def _answer(self, method: str, url: str, headers: Mapping[str, str], body: dict[str, Any] | None) -> Answer:
        path, query = unquote(urlsplit(url).path), parse_qs(urlsplit(url).query)
        refusal = self.refuse(method, path)
        if refusal is not None:
            code, said = refusal
            # As the API marks what it says itself.
            return code, said if code < 400 else {"kind": "Status"} | said
        parts = path.strip("/").split("/")
        if parts == ["api", "v1", "nodes"]:
            return self._page(self.nodes, query)
        if parts == ["api", "v1", "pods"]:
            return self._page(self.other_pods, query)
        if parts[-1] == "selfsubjectaccessreviews":
            return 201, {"status": {"allowed": self._may((body or {})["spec"]["resourceAttributes"])}}
        assert "/namespaces/sniffer/" in path, path
        kind, name = (parts[-1], None) if parts[-1] == PODS else (parts[-2], parts[-1])
        with self._lock:
            if method == "GET":
                return self._get(kind, name, query)
            if method == "DELETE":
                return self._delete(kind, str(name))
            if headers.get("Content-Type") == "application/apply-patch+yaml":
                return self._apply(kind, str(name), query, body or {})
            return self._touch(str(name), body or {})

    def _may(self, asked: dict[str, str]) -> bool:
        assert asked["namespace"] == "sniffer"
        return f"{asked['verb']} {asked['resource']}" not in self.denied

    def _get(self, kind: str, name: str | None, query: dict[str, list[str]]) -> Answer:
        if kind == PODS:
            wanted = dict(pair.split("=") for pair in query["labelSelector"][0].split(","))
            return self._page([pod.document() for pod in self.pods if wanted.items() <= pod.labels.items()], query)
        found = (self.config_maps if kind == CONFIG_MAPS else self.deployments).get(str(name))
        return (200, found) if found else _status(404, f"{kind} {name!r} not found")

    def _page(self, items: list[dict[str, Any]], query: dict[str, list[str]]) -> Answer:
        """A page of a list, of at most `page` objects; its token is where the next one begins."""
        start = int(query.get("continue", ["0"])[0])
        if start and self.expired:
            self.expired -= 1
            return _status(410, "The provided continue parameter is too old to display a consistent list result")
        end = start + min(self.page, int(query.get("limit", [self.page])[0]))
        metadata = {"continue": str(end)} if end < len(items) else {}
        return 200, {"metadata": metadata, "items": items[start:end]}

    def _apply(self, kind: str, name: str, query: dict[str, list[str]], body: dict[str, Any]) -> Answer:
        manager, force = query["fieldManager"][0], query["force"] == ["true"]
        database = self.config_maps if kind == CONFIG_MAPS else self.deployments
        owner = self.owners.get(name, manager)
        if owner != manager and not force and database[name]["data"] != body["data"]:
            cause = {
                "reason": "FieldManagerConflict",
                "message": f'conflict with "{owner}"',
                "field": ".data.aspired.json",
            }
            message = f'Apply failed with 1 conflict: conflict with "{owner}" using v1: .data.aspired.json'
            code, body = _status(409, message)
            return code, body | {"reason": "Conflict", "details": {"causes": [cause]}}
        created = name not in database
        if created:
            self.written.append(name)
        database[name], self.owners[name] = body, manager
        if kind == DEPLOYMENTS and created:
            self.on_create(name, body)
        return (201 if created else 200), body

    def _touch(self, name: str, body: dict[str, Any]) -> Answer:
        pod = next((pod for pod in self.pods if pod.name == name), None)
        if pod is None:
            return _status(404, f"pods {name!r} not found")
        pod.annotations |= body["metadata"]["annotations"]
        self.mount(pod)
        return 200, pod.document()

    def mount(self, pod: Pod) -> None:
        """Bring its ConfigMap into the pod's folder, as its kubelet does at its start and when the pod is touched."""
        if pod.config_map in self.config_maps and pod.mount.exists():
            for key, text in self.config_maps[pod.config_map]["data"].items():
                part = pod.mount / f".{key}"
                part.write_text(text)
                part.rename(pod.mount / key)

    def _delete(self, kind: str, name: str) -> Answer:
        kept = {DEPLOYMENTS: self.deployments, CONFIG_MAPS: self.config_maps}[kind]
        if kept.pop(name, None) is None:
            return _status(404, f"{kind} {name!r} not found")
        self.deleted.append(name)
        if kind == DEPLOYMENTS and not self.pods_linger:
            self.pods = [pod for pod in self.pods if not pod.name.startswith(f"{name}-")]
        return 200, {"kind": "Status", "status": "Success"}


def _status(code: int, message: str) -> Answer:
    return code, {"kind": "Status", "status": "Failure", "message": message, "code": code}


def _deployment() -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": "tf-serving"}
    return {
        "metadata": {"name": "tf-serving", "namespace": "sniffer"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels | {"app.kubernetes.io/component": "serving"}, "creationTimestamp": None},
                "spec": {
                    "containers": [{"name": "tf-serving", "resources": {}}],
                    "volumes": [
                        {"name": "models", "emptyDir": {}},
                        {"name": "aspired", "configMap": {"name": "tf-serving-aspired", "optional": True}},
                    ],
                },
            },
        },
    }
