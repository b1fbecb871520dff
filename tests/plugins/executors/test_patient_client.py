"""The operator's client while an API server denies: it waits, for a bounded time. The API is a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from kubernetes import client
from support.http_server import HttpAnswer, HttpRequest, HttpServer

from sniffer_airflow.executors.patient_client import SETTLING_S, PatientClient
from sniffer_airflow.executors.pod import PodProgramOperator


class DenyingServer(HttpServer):
    """Denies so many requests, then has one pod."""

    def __init__(self) -> None:
        self.denials, self.status, self.asked = 0, 403, 0
        self.accounts: set[str | None] = set()
        super().__init__()

    def respond(self, request: HttpRequest) -> HttpAnswer:
        self.asked += 1
        self.accounts.add(request.headers.get("authorization"))
        status = self.status if self.asked <= self.denials else 200
        body = json.dumps({"kind": "Pod", "metadata": {"name": "scan"}}).encode()
        return HttpAnswer(status, body, [("Content-Type", "application/json")])


@pytest.fixture
def server() -> Iterator[DenyingServer]:
    with DenyingServer() as found:
        yield found


class Bench:
    """The client, whose time passes as it sleeps."""

    def __init__(self, server: DenyingServer) -> None:
        self.now = 0.0
        like = client.ApiClient(client.Configuration(host=server.url, api_key={"authorization": "Bearer a"}))
        self.api = client.CoreV1Api(PatientClient(like, clock=lambda: self.now, sleep=self._sleep))

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

    def read(self) -> str:
        return str(self.api.read_namespaced_pod("scan", "sniffer").metadata.name)


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_has_just_started_is_given_time(server: DenyingServer, status: int) -> None:
    server.denials, server.status = 5, status
    bench = Bench(server)
    assert bench.read() == "scan"
    assert (server.asked, bench.now) == (6, 5.0)
    assert server.accounts == {"Bearer a"}


def test_what_is_denied_for_long_is_denied_at_once_after_that(server: DenyingServer) -> None:
    server.denials = 1000
    bench = Bench(server)
    for spent in (SETTLING_S, 0.0):
        began = bench.now
        with pytest.raises(client.ApiException, match="403"):
            bench.read()
        assert bench.now - began == spent


def test_other_refusals_are_not_waited_out(server: DenyingServer) -> None:
    server.denials, server.status = 1, 404
    with pytest.raises(client.ApiException, match="404"):
        Bench(server).read()
    assert server.asked == 1


def test_the_operator_asks_by_it(server: DenyingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hook:
        core_v1_client = client.CoreV1Api(client.ApiClient(client.Configuration(host=server.url)))

    monkeypatch.setattr(PodProgramOperator, "hook", Hook())
    operator = PodProgramOperator(task_id="scan", module="sniffer.scan")
    assert isinstance(operator.client.api_client, PatientClient)
    assert operator.client.read_namespaced_pod("scan", "sniffer").metadata.name == "scan"
