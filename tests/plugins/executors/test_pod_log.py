"""A pod's log in the task's log: levels, stack traces and the last error. The API is a real server."""

from __future__ import annotations

import json
import logging
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from kubernetes import client
from support.http_server import HttpAnswer, HttpRequest, HttpServer
from support.programs import eventually
from support.task_log import TaskLog

from sniffer.core.errors import SettingsError
from sniffer.core.log_entries import LogEntry
from sniffer_airflow.executors.choose import program
from sniffer_airflow.executors.pod import PodProgramOperator

AT = "2026-11-05T00:00:0{}.000000000Z"


class PodServer(HttpServer):
    """One pod that has ended: its status, its log with Kubernetes's time before each line, no events."""

    def __init__(self) -> None:
        self.status, self.reason = 1, "Error"
        self.log: list[str] = []
        self.deleted = False
        self.looks_running = 0
        """How many more times the container is shown as running, though it has ended."""
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
        if self.looks_running:
            self.looks_running -= 1
            phase, base["state"] = "Running", {"running": {"startedAt": AT.format(0)}}
        return {
            "metadata": {"name": "scan", "namespace": "sniffer", "labels": {}},
            "spec": {"containers": [{"name": "base"}]},
            "status": {"phase": phase, "containerStatuses": [base]},
        }


@pytest.fixture
def server() -> Iterator[PodServer]:
    with PodServer() as found:
        yield found


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> TaskLog:
    found = TaskLog()
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


def test_levels_and_stack_traces_arrive(server: PodServer, log: TaskLog, monkeypatch: pytest.MonkeyPatch) -> None:
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
    log: TaskLog,
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


def test_what_a_source_tells_its_program_is_in_the_pod_s_environment_but_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SNIFFER_RUN_IN", "pods")
    role = {"SNIFFER_ASSUME_ROLE": "arn:aws:iam::111122223333:role/r", "AWS_REGION": "eu-west-1"}
    operator = program(task_id="scan", module="sniffer.scan", arguments=[], environ=role)
    assert isinstance(operator, PodProgramOperator)
    [base] = [each for each in operator.build_pod_request_obj(dry_run=True).spec.containers if each.name == "base"]
    assert role.items() <= {each.name: each.value for each in base.env}.items()
    with pytest.raises(SettingsError, match="the Connection aws_eu cannot be given to a pod .*name a role"):
        program(task_id="scan", module="sniffer.scan", aws_connection="aws_eu")


def built(**changes: Any) -> client.V1Pod:
    """The pod that an operator would start for a task of some run."""
    operator = PodProgramOperator(task_id="scan", module="sniffer.scan", arguments=[], **changes)
    return operator.build_pod_request_obj(dry_run=True)


def test_the_side_car_ends_at_sigterm() -> None:
    [side_car] = [each for each in built().spec.containers if each.name == "airflow-xcom-sidecar"]
    for number in (signal.SIGTERM, signal.SIGINT):
        with subprocess.Popen(side_car.command, start_new_session=True) as process:
            eventually(partial(psutil.Process(process.pid).children), "it waits, with its trap set")
            began = time.monotonic()
            process.send_signal(number)
            # Without a trap it would die of the signal here, and as a container's first process ignore it.
            assert process.wait(5) == 0
            assert time.monotonic() - began < 2


def test_a_pod_has_a_deadline(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert built().spec.active_deadline_seconds == 604800
    shutil.copytree(repository / "k8s", tmp_path / "k8s")
    template = tmp_path / "k8s" / "pods" / "fleet.yaml"
    template.write_text(re.sub("(?m)^  activeDeadlineSeconds.*$", "", template.read_text()))
    monkeypatch.setenv("SNIFFER_POD_TEMPLATES", str(tmp_path / "k8s"))
    assert built().spec.active_deadline_seconds == 604800
    assert built(execution_timeout=timedelta(hours=3)).spec.active_deadline_seconds == 10800


def test_a_log_that_breaks_off_is_not_repeated(
    server: PodServer, log: TaskLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.status, server.log = 0, [entry("INFO", "listed 3"), entry("INFO", "listed 4")]
    # As Kubernetes does while a pod ends: its container is gone, and shown as running for a while.
    server.looks_running = 3
    operator = ended(server, monkeypatch)
    assert [text for _, text in log.records if "listed" in text] == ["produce: listed 3", "produce: listed 4"]
    assert server.looks_running == 0
    # As Airflow does once its login is over.
    del operator.pod_manager
    operator.await_pod_completion(pod(operator.client))
    assert len([text for _, text in log.records if "listed" in text]) == 2


def test_a_stopped_task_ends_at_its_next_look(server: PodServer, log: TaskLog, monkeypatch: pytest.MonkeyPatch) -> None:
    operator = ended(server, monkeypatch)
    operator.pod = pod(operator.client)
    server.looks_running = 100
    operator.on_kill()
    assert server.deleted
    with pytest.raises(AirflowException, match="sniffer.scan was stopped by Airflow"):
        operator.await_pod_completion(operator.pod)
