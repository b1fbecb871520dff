"""Calls over HTTP end in time, however a server shares out what it says, and take in no flood."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from support.dripping_server import DrippingServer
from support.full_server import FullServer
from support.http_server import HttpAnswer, HttpRequest, HttpServer
from urllib3 import HTTPConnectionPool, PoolManager
from urllib3.connection import HTTPConnection

from sniffer.adapters import airflow
from sniffer.adapters.airflow import AirflowApi
from sniffer.adapters.http import BoundedAdapter
from sniffer.core.errors import TransientError
from sniffer.core.settings import AirflowSettings

HEAD = b"HTTP/1.1 200 OK\r\n"
DRIPS = {
    "status line": (b"HTTP/1.1 200 O", b"K"),
    "head": (HEAD, b"X-A: 1\r\n"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": (HEAD + b"Content-Length: 100000\r\n\r\n", b"x"),
    "body to the end of the connection": (HEAD + b"\r\n", b"x"),
    "chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "size of a chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
}
TLS_HANDSHAKE = b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb"
"""The beginning of a ServerHello that goes on for 16 kB."""


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as found:
        found.trust_env = False
        for scheme in ("http://", "https://"):
            found.mount(scheme, BoundedAdapter(0.3, answer_bytes=1000))
        yield found


@pytest.mark.parametrize("name", DRIPS)
def test_a_server_that_drips_is_left_in_time(name: str, session: requests.Session) -> None:
    with DrippingServer(*DRIPS[name]) as server:
        began_at = time.monotonic()
        with pytest.raises(requests.Timeout, match=r"did not end within 0\.3 s"):
            session.get(f"http://127.0.0.1:{server.port}/", timeout=10)
        assert time.monotonic() - began_at < 5
        assert server.left.wait(5), "nothing is left of the connection"


def test_a_handshake_that_drips_is_left_in_time(session: requests.Session) -> None:
    with DrippingServer(TLS_HANDSHAKE, b"\x00") as server:
        began_at = time.monotonic()
        with pytest.raises(requests.Timeout, match=r"did not end within 0\.3 s"):
            session.get(f"https://127.0.0.1:{server.port}/", timeout=10)
        assert time.monotonic() - began_at < 5 and server.left.wait(5)


def test_so_is_one_of_many_addresses_that_take_no_connection(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a firewall that drops what goes out: each address alone would be waited for."""
    with FullServer() as server:
        asked = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))] * 20
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: asked)
        began_at = time.monotonic()
        with pytest.raises(requests.Timeout):
            session.get(f"http://chat.example:{server.port}/", timeout=0.2)
        assert time.monotonic() - began_at < 2


def test_a_proxy_of_another_kind_keeps_its_own_connections(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tunnel(HTTPConnection):
        def __init__(self, *args: Any, _tunnel: str, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._dns_host, self.port = "127.0.0.1", int(_tunnel)

    class TunnelPool(HTTPConnectionPool):
        ConnectionCls = Tunnel

    class Tunnels(PoolManager):
        """As that of SOCKS, which is there with PySocks: connections with an argument of their own."""

        def __init__(self, proxy: str, **_: Any) -> None:
            super().__init__()
            self.pool_classes_by_scheme = {"http": TunnelPool}
            self.connection_pool_kw["_tunnel"] = proxy.rpartition(":")[2].strip("/")

        def connection_from_host(self, host: Any, port: Any = None, *_: Any, **__: Any) -> Any:
            return self._new_pool("http", host, port or 80, {"host": host, "port": port, **self.connection_pool_kw})

    monkeypatch.setattr("requests.adapters.SOCKSProxyManager", Tunnels)
    with DrippingServer(*DRIPS["body"]) as server:
        with pytest.raises(requests.Timeout, match="did not end within"):
            session.get("http://example.invalid/", proxies={"http": f"socks5://127.0.0.1:{server.port}"}, timeout=10)
        assert server.left.wait(5)


def test_so_it_is_through_a_proxy(session: requests.Session) -> None:
    with DrippingServer(*DRIPS["head"]) as proxy:
        with pytest.raises(requests.Timeout, match="did not end within"):
            session.get("http://example.invalid/", proxies={"http": f"http://127.0.0.1:{proxy.port}"}, timeout=10)
        assert proxy.left.wait(5)


@pytest.mark.parametrize(
    ("head", "body", "message"),
    [(b"\r\n", b"x" * 100_000, "more than 1000 bytes"), (b"Content-Encoding: gzip\r\n\r\n", b"", "is compressed")],
)
def test_an_answer_is_no_flood_and_no_bomb(head: bytes, body: bytes, message: str, session: requests.Session) -> None:
    refused = pytest.raises(requests.exceptions.ContentDecodingError, match=message)
    with DrippingServer(HEAD + head, body) as server, refused:
        session.get(f"http://127.0.0.1:{server.port}/", timeout=10)


def test_who_answers_nothing_is_told_of_in_the_words_of_the_library(session: requests.Session) -> None:
    with FullServer() as server, pytest.raises(requests.ConnectionError, match=r"HTTPConnectionPool\(host='127"):
        session.get(f"http://127.0.0.1:{server.port}/", timeout=0.05)


def test_what_is_in_bounds_is_as_ever_and_each_call_has_its_own_time(session: requests.Session) -> None:
    class Server(HttpServer):
        def respond(self, request: HttpRequest) -> HttpAnswer:
            time.sleep(0.15)
            assert request.headers["Accept-Encoding"] == "identity"
            return HttpAnswer(200, b'{"a": 1}')

    with Server() as server:
        for _ in range(3):
            answer = session.post(server.url, json={}, timeout=10)
            assert answer.json() == {"a": 1} and answer.content == b'{"a": 1}'


def test_the_doctor_follows_no_airflow_around_for_long() -> None:
    class Around(HttpServer):
        asked = 0

        def respond(self, request: HttpRequest) -> HttpAnswer:
            self.asked += 1
            return HttpAnswer(302, b"", [("Location", "/again")])

    with Around() as server, AirflowApi(AirflowSettings(server.url, "admin", "secret")) as api:
        with pytest.raises(TransientError, match="Exceeded 3 redirects"):
            api.health()
        assert server.asked == 4


def test_the_doctor_waits_for_no_airflow_that_drips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(airflow, "_TIMEOUT_S", 0.15)
    with DrippingServer(*DRIPS["body"]) as server:
        settings = AirflowSettings(f"http://127.0.0.1:{server.port}", "admin", "secret")
        with AirflowApi(settings) as api, pytest.raises(TransientError, match=r"did not end within 0\.3 s"):
            api.health()
