"""A pod's log in the task's log: levels, stack traces and the last error. The API is a real server."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from kubernetes import client
from support.http_server import HttpAnswer, HttpRequest, HttpServer

from sniffer.core.log_entries import LogEntry
from sniffer_airflow.executors.pod import PodProgramOperator

AT = "2026-11-05T00:00:0{}.000000000Z"


class PodServer(HttpServer):
    """One pod that has ended: its status, its log with Kubernetes's time before each line, no events."""

    def __init__(self) -> None:
        self.status, self.reason = 1, "Error"
        self.log: list[str] = []
        self.deleted = False
        super().__init__()

    def respond(self, request: HttpRequest) -> HttpAnswer:
        path = urlsplit(request.path).path
        if path.endswith("/log"):
            lines = (f"{AT.format(number % 10)} {line}\n" for number, line in enumerate(self.log))
            return HttpAnswer(200, "".join(lines).encode(), [("Content-Type", "text/plain")])
        if path.endswith("/events"):
            return self._json({"kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": []})
        self.deleted |= request.method == "DELETE"
        return self._json(self._pod())

    def _json(self, document: dict[str, Any]) -> HttpAnswer:
        return HttpAnswer(200, json.dumps(document).encode(), [("Content-Type", "application/json")])

    def _pod(self) -> dict[str, Any]:
        ended = {
            "exitCode": self.status,
            "reason": self.reason,
            "startedAt": AT.format(0),
            "finishedAt": "2126-11-05T00:00:09Z",
        }
        base = {
            "name": "base",
            "image": "i",
            "imageID": "i",
            "ready": False,
            "restartCount": 0,
            "state": {"terminated": ended},
        }
        phase = "Failed" if self.status else "Succeeded"
        return {
            "metadata": {"name": "scan", "namespace": "sniffer", "labels": {}},
            "spec": {"containers": [{"name": "base"}]},
            "status": {"phase": phase, "containerStatuses": [base]},
        }


@dataclass
class Log:
    """Stands for the task's log."""

    records: list[tuple[int, str]] = field(default_factory=list)

    def log(self, level: int, message: str, *values: object, **_: object) -> None:
        self.records.append((level, message % values))

    def info(self, message: str, *values: object) -> None:
        self.log(logging.INFO, message, *values)

    def warning(self, message: str, *values: object) -> None:
        self.log(logging.WARNING, message, *values)


@pytest.fixture
def server() -> Iterator[PodServer]:
    with PodServer() as found:
        yield found


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    found = Log()
    monkeypatch.setattr(PodProgramOperator, "log", found)
    return found


def entry(level: str, message: str, exception: str = "", *, gives_up: bool = False) -> str:
    return LogEntry(
        AT.format(0), level, "sniffer.scan.produce", message, "produce", "scan-1", exception, gives_up
    ).line()


def ended(server: PodServer, monkeypatch: pytest.MonkeyPatch) -> PodProgramOperator:
    """An operator that has followed the pod to its end, and not yet cleaned up."""
    operator = PodProgramOperator(task_id="scan", module="sniffer.scan")
    api = client.CoreV1Api(client.ApiClient(client.Configuration(host=server.url)))
    monkeypatch.setattr(PodProgramOperator, "client", api)
    operator.await_pod_completion(pod(api))
    return operator


def pod(api: client.CoreV1Api) -> client.V1Pod:
    return api.read_namespaced_pod("scan", "sniffer")


def failure(server: PodServer, monkeypatch: pytest.MonkeyPatch) -> AirflowException:
    operator = ended(server, monkeypatch)
    found = pod(operator.client)
    with pytest.raises(AirflowException) as raised:
        operator.cleanup(found, found)
    return raised.value


def test_levels_and_stack_traces_arrive(server: PodServer, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    server.status = 0
    trace = ["Traceback (most recent call last):", '  File "a.py", line 1', "ValueError: no"]
    server.log = [
        entry("INFO", "listed 3"),
        entry("WARNING", "S3 is slow"),
        "terminate called without an active exception",
        *trace,
        entry("ERROR", "it broke", "Traceback:\n  x"),
        "::group::hidden",
    ]
    operator = ended(server, monkeypatch)
    found = pod(operator.client)
    operator.cleanup(found, found)
    assert [record for record in log.records if record[1].startswith(("produce", "term", "Trace", ":"))] == [
        (logging.INFO, "produce: listed 3"),
        (logging.WARNING, "produce: S3 is slow"),
        (logging.WARNING, "terminate called without an active exception"),
        (logging.ERROR, "\n".join(trace)),
        (logging.ERROR, "produce: it broke\nTraceback:\n  x"),
        (logging.WARNING, ":group::hidden"),
    ]
    assert server.deleted


@pytest.mark.parametrize(
    ("status", "lines", "text", "is_final"),
    [
        (1, [entry("ERROR", "MySQL is away", gives_up=True), entry("ERROR", "late")], "MySQL is away", False),
        (1, ["ModuleNotFoundError: No module named 'x'"], "ModuleNotFoundError: No module named 'x'", False),
        (1, [], "sniffer.scan ended with exit status 1; it did not say why", False),
        (2, [entry("ERROR", "no such bucket", gives_up=True)], "no such bucket", True),
        (137, [], "sniffer.scan was killed by SIGKILL, often for want of memory", False),
        (1, ["Traceback (most recent call last):", "  x", "ImportError: no"], "ImportError: no", False),
    ],
)
def test_the_last_error_is_the_exception(
    status: int,
    lines: list[str],
    text: str,
    is_final: bool,
    server: PodServer,
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.status, server.log = status, lines
    error = failure(server, monkeypatch)
    assert str(error) == text
    assert isinstance(error, AirflowFailException) == is_final
    assert error.__cause__ is None and error.__suppress_context__


def test_our_programs_in_pods_log_as_json(repository: Path) -> None:
    built = PodProgramOperator(task_id="scan", module="sniffer.scan").build_pod_request_obj(dry_run=True)
    [base] = [each for each in built.spec.containers if each.name == "base"]
    assert {each.name: each.value for each in base.env}["SNIFFER_LOG_FORMAT"] == "json"
