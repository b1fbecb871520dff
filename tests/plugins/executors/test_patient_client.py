"""The operator's client while an API server denies: it waits, for a bounded time. The API is a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from kubernetes import client
from support.http_server import HttpAnswer, HttpRequest, HttpServer

from sniffer_airflow.executors.patient_client import BUSY_S, SETTLING_S, PatientClient
from sniffer_airflow.executors.pod import PodProgramOperator


class DenyingServer(HttpServer):
    """Denies so many requests, then has one pod."""

    def __init__(self) -> None:
        self.denials, self.status, self.asked = 0, 403, 0
        self.retry_after = ""
        self.page = b""
        self.accounts: set[str | None] = set()
        super().__init__()

    def respond(self, request: HttpRequest) -> HttpAnswer:
        self.asked += 1
        self.accounts.add(request.headers.get("authorization"))
        status = self.status if self.asked <= self.denials else 200
        if self.page and self.asked <= self.denials:
            return HttpAnswer(200, self.page, [("Content-Type", "text/html")])
        body = json.dumps({"kind": "Pod", "metadata": {"name": "scan"}}).encode()
        asked_to_wait = [("Retry-After", self.retry_after)] if status != 200 and self.retry_after else []
        return HttpAnswer(status, body, [("Content-Type", "application/json"), *asked_to_wait])


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


@pytest.mark.parametrize(
    ("retry_after", "pause_s"),
    [
        ("", 1),
        ("0", 1),
        ("7", 7),
        ("86400", 30),
        ("1e400", 30),
        ("-1", 1),
        ("nan", 1),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 1),
    ],
)
def test_a_busy_server_is_left_alone_as_it_asks_within_bounds(
    server: DenyingServer, retry_after: str, pause_s: float
) -> None:
    server.denials, server.status, server.retry_after = 2, 429, retry_after
    bench = Bench(server)
    assert bench.read() == "scan"
    assert (server.asked, bench.now) == (3, 2 * pause_s)


def test_a_server_that_stays_busy_ends_with_what_it_said(server: DenyingServer) -> None:
    server.denials, server.status, server.retry_after = 1000, 429, "86400"
    bench = Bench(server)
    for spent in (BUSY_S, 0.0):
        began = bench.now
        with pytest.raises(client.ApiException, match="429") as raised:
            bench.read()
        assert bench.now - began == spent
        # Airflow itself would sleep for that long.
        assert not raised.value.headers


@pytest.mark.parametrize("page", [b"<html>please sign in</html>", b"[1]", b'"ok"', b"null", b"\xff\xfe"])
def test_a_proxys_page_is_no_pod(server: DenyingServer, page: bytes) -> None:
    server.denials, server.page = 1, page
    bench = Bench(server)
    # Airflow tries again after a 502.
    with pytest.raises(client.ApiException, match="not Kubernetes' own") as raised:
        bench.read()
    assert raised.value.status == 502
    assert bench.read() == "scan"


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
