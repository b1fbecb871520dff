"""A namespace of Kubernetes over real HTTP whose pods are real processes: what Airflow's operator asks of it.

A pod's container `base` is a process group of this machine, its side-car is played: a deleted pod gets SIGTERM and,
after its grace, SIGKILL; one whose node is taken away gets SIGKILL at once. Results are read over a real websocket.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import psutil
from kubernetes import client

from support.http_server import HttpAnswer, HttpRequest, HttpServer

_RESULT, _SIDECAR = "/airflow/xcom/return.json", "airflow-xcom-sidecar"
_WEBSOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_STDOUT, _STATUS = 1, 3
_GRACE_S = 30.0


@dataclass
class RunningPod:
    """A pod, its process, and where that writes."""

    document: dict[str, Any]
    process: subprocess.Popen[bytes]
    folder: Path
    log: list[str] = field(default_factory=list)
    side_car_ended: bool = False
    conditions: list[dict[str, str]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.document["metadata"]["name"])

    def family(self) -> list[psutil.Process]:
        """The process and all below it, as far as they live."""
        try:
            root = psutil.Process(self.process.pid)
            return [each for each in (root, *root.children(recursive=True)) if each.status() != psutil.STATUS_ZOMBIE]
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """SIGKILL to everybody, as when the node is gone."""
        for process in self.family():
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def status(self) -> dict[str, Any]:
        code = self.process.poll()
        base: dict[str, Any] = {"running": {"startedAt": self.document["metadata"]["creationTimestamp"]}}
        if code is not None:
            status = code if code >= 0 else 128 - code
            reason = "Error" if status else "Completed"
            base = {"terminated": {"exitCode": status, "reason": reason, "finishedAt": _now()}}
        side_car: dict[str, Any] = {"running": {}}
        if self.side_car_ended:
            side_car = {"terminated": {"exitCode": 0, "reason": "Completed"}}
        both = code is not None and self.side_car_ended
        return {
            "phase": ("Failed" if code else "Succeeded") if both else "Running",
            "conditions": self.conditions,
            "containerStatuses": [_container("base", base), _container(_SIDECAR, side_car)],
        }

    def shown(self) -> dict[str, Any]:
        return self.document | {"status": self.status()}


class PodCluster(HttpServer):
    """The namespace `sniffer`. `environ` is what its ConfigMaps and Secrets give to each program."""

    def __init__(self, folder: Path, environ: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.environ = environ or {}
        self.pods: dict[str, RunningPod] = {}
        self.created: list[RunningPod] = []
        self.most_at_once = 0
        self.away: Callable[[HttpRequest], int] = lambda _request: 0
        """The status that the API server answers with instead, as while it is away."""
        self.on_create: Callable[[RunningPod], None] = lambda _pod: None
        """Called before the answer to whoever creates a pod."""
        self._lock = threading.Lock()
        super().__init__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        for pod in self.created:
            pod.kill()
            pod.process.wait(20)

    def api(self) -> client.CoreV1Api:
        """A client of it."""
        return client.CoreV1Api(client.ApiClient(client.Configuration(host=self.url)))

    def delete(self, name: str, *, grace_s: float | None = None) -> None:
        """Ask the pod to end, as the API does."""
        with self._lock:
            pod = self.pods[name]
            metadata = pod.document["metadata"]
            if "deletionTimestamp" in metadata:
                return
            grace = pod.document["spec"].get("terminationGracePeriodSeconds", _GRACE_S) if grace_s is None else grace_s
            metadata |= {"deletionTimestamp": _now(), "deletionGracePeriodSeconds": int(grace)}
        threading.Thread(target=self._end, args=(pod, grace), daemon=True).start()

    def evict(self, name: str) -> None:
        """End it for its node's sake, as when a spot node is drained."""
        word = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drained"}
        self.pods[name].conditions.append(word)
        self.delete(name)

    def vanish(self, name: str) -> None:
        """Take its node away, without a word before."""
        pod = self.pods.pop(name)
        pod.kill()
        pod.process.wait(20)

    def orphans(self) -> list[str]:
        """Pods, and processes of pods, that are there still."""
        lasting = [f"process {each.pid} of {pod.name}" for pod in self.created for each in pod.family()]
        return [*self.pods, *lasting]

    def respond(self, request: HttpRequest) -> HttpAnswer:
        if status := self.away(request):
            return _json({"kind": "Status", "message": "etcdserver: leader changed", "code": status}, status)
        url = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        parts = unquote(url.path).split("/")
        if parts[-1] == "events":
            return _json({"kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": []})
        if parts[-1] == "pods":
            if request.method == "POST":
                return self._create(json.loads(request.body))
            return self._list(query.get("labelSelector", ""))
        name = parts[6]
        pod = self.pods.get(name)
        if pod is None:
            return _json({"kind": "Status", "reason": "NotFound", "code": 404}, 404)
        if parts[-1] == "log":
            return HttpAnswer(200, "".join(pod.log).encode(), [("Content-Type", "text/plain")])
        if request.method == "DELETE":
            body = json.loads(request.body) if request.body else None
            self.delete(name, grace_s=(body or {}).get("gracePeriodSeconds"))
        if request.method == "PATCH":
            pod.document["metadata"]["labels"] |= json.loads(request.body)["metadata"]["labels"]
        return _json(pod.shown())

    def _create(self, document: dict[str, Any]) -> HttpAnswer:
        name = document["metadata"]["name"]
        with self._lock:
            if name in self.pods:
                return _json({"kind": "Status", "reason": "AlreadyExists", "code": 409}, 409)
            document["metadata"] |= {"creationTimestamp": _now(), "uid": name}
            pod = self.pods[name] = self._started(document)
            self.created.append(pod)
            self.most_at_once = max(self.most_at_once, len(self.pods))
        threading.Thread(target=_follow, args=(pod,), daemon=True).start()
        self.on_create(pod)
        if status := self.away(HttpRequest("ANSWER", "", {}, b"")):
            return _json({"kind": "Status", "message": "the answer is lost", "code": status}, status)
        return _json(pod.shown(), 201)

    def _started(self, document: dict[str, Any]) -> RunningPod:
        folder = self.folder / document["metadata"]["name"]
        folder.mkdir(parents=True)
        [base] = [each for each in document["spec"]["containers"] if each["name"] == "base"]
        words = [word.replace(_RESULT, str(folder / "return.json")) for word in (*base["command"], *base["args"])]
        given = {each["name"]: each["value"] for each in base["env"] if "value" in each}
        process = subprocess.Popen(
            [sys.executable, *words[1:]],
            env=os.environ | given | self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return RunningPod(document, process, folder)

    def _end(self, pod: RunningPod, grace_s: float) -> None:
        with suppress(ProcessLookupError):
            pod.process.terminate()
        pod.side_car_ended = True
        try:
            pod.process.wait(grace_s)
        except subprocess.TimeoutExpired:
            pod.kill()
            pod.process.wait(20)
        pod.kill()  # what it has left, which ends with its container
        self.pods.pop(pod.name, None)

    def _list(self, selector: str) -> HttpAnswer:
        found = [pod.shown() for pod in list(self.pods.values()) if _matches(selector, pod.document)]
        return _json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": found})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        cluster, plain = self, super()._handler()

        class Handler(plain):  # type: ignore[misc,valid-type]
            def do_GET(self) -> None:
                if self.headers.get("Upgrade", "").lower() == "websocket":
                    cluster.run_command(self)
                else:
                    super().do_GET()

            do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

        return Handler

    def run_command(self, handler: BaseHTTPRequestHandler) -> None:
        """What `pods/exec` does in the side-car: print the result, or end."""
        url = urlsplit(handler.path)
        pod = self.pods.get(url.path.split("/")[6])
        handler.close_connection = True
        if pod is None or pod.side_car_ended:
            handler.send_error(500, "container not found")
            return
        key = handler.headers["Sec-WebSocket-Key"] + _WEBSOCKET_GUID
        handler.send_response(101)
        handler.send_header("Upgrade", "websocket")
        handler.send_header("Connection", "Upgrade")
        handler.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        handler.send_header("Sec-WebSocket-Protocol", "v4.channel.k8s.io")
        handler.end_headers()
        if any("return.json" in word for word in parse_qs(url.query)["command"]):
            path = pod.folder / "return.json"
            said = path.read_text() if path.exists() else "__airflow_xcom_result_empty__\n"
        else:
            handler.rfile.read1(1 << 12)  # the command to end, which comes by stdin
            pod.side_car_ended, said = True, "ended\n"
        for channel, text in ((_STDOUT, said), (_STATUS, json.dumps({"status": "Success"}))):
            handler.wfile.write(_frame(2, bytes([channel]) + text.encode()))
        handler.wfile.write(_frame(8, struct.pack(">H", 1000)))
        handler.wfile.flush()


def _follow(pod: RunningPod) -> None:
    for line in pod.process.stdout or ():
        pod.log.append(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z {line.decode(errors='replace')}")


def _frame(opcode: int, payload: bytes) -> bytes:
    """One frame of a websocket's server (RFC 6455)."""
    size = len(payload)
    if size < 126:
        return bytes([0x80 | opcode, size]) + payload
    if size < 1 << 16:
        return bytes([0x80 | opcode, 126]) + struct.pack(">H", size) + payload
    return bytes([0x80 | opcode, 127]) + struct.pack(">Q", size) + payload


def _matches(selector: str, document: dict[str, Any]) -> bool:
    labels = document["metadata"].get("labels", {})
    return all(_meets(labels, term) for term in filter(None, selector.split(",")))


def _meets(labels: dict[str, str], term: str) -> bool:
    if "!=" in term:
        name, _, value = term.partition("!=")
        return labels.get(name) != value
    if term.startswith("!"):
        return term[1:] not in labels
    name, _, value = term.partition("=")
    return labels.get(name) == value


def _container(name: str, state: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "image": "i",
        "imageID": "i",
        "ready": "running" in state,
        "restartCount": 0,
        "state": state,
    }


def _json(document: dict[str, Any], status: int = 200) -> HttpAnswer:
    return HttpAnswer(status, json.dumps(document).encode(), [("Content-Type", "application/json")])


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}Z"
