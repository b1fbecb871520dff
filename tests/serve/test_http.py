"""HTTP itself: encodings, connections, and requests that are slow, large or broken off."""

from __future__ import annotations

import gzip
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from requests.adapters import HTTPAdapter
from support.model_server import HALF, ServerProcess


@pytest.mark.parametrize(
    ("headers", "pack"),
    [
        ({"Content-Type": "application/x-www-form-urlencoded"}, bytes),
        ({"Content-Type": "text/plain"}, bytes),
        ({"Content-Encoding": "gzip"}, gzip.compress),
        ({"Expect": "100-continue"}, bytes),
    ],
)
def test_the_content_type_is_not_read_and_gzip_is_unpacked(
    server: ServerProcess, headers: dict[str, str], pack: Callable[[bytes], bytes]
) -> None:
    answer = server.post(HALF + ":predict", pack(b'{"instances": [[1.0]]}'), headers=headers)
    assert answer.json() == {"predictions": [[3.5]]}
    assert "content-encoding" not in answer.headers


def test_a_gzip_body_that_is_none_counts_as_empty(server: ServerProcess) -> None:
    answer = server.post(HALF + ":predict", b'{"instances": [[1.0]]}', headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["error"]) == (400, "JSON Parse error: The document is empty")


def test_a_chunked_body_and_text_after_the_object_are_fine(server: ServerProcess) -> None:
    parts = iter([b'{"instances"', b": [[1.0]", b"]} and so on"])
    answer = requests.post(server.url + HALF + ":predict", data=parts, timeout=60)
    assert answer.json() == {"predictions": [[3.5]]}


@pytest.mark.parametrize("length", [300 << 20, 10**12, 10**30])
def test_a_body_that_is_too_large_is_refused_before_it_comes(server: ServerProcess, length: int) -> None:
    with server.connect() as client:
        client.settimeout(20)
        client.sendall(f"POST {HALF}:predict HTTP/1.1\r\nHost: m\r\nContent-Length: {length}\r\n\r\n".encode())
        assert client.recv(12) == b"HTTP/1.1 400"


def test_a_body_without_a_length_is_read_up_to_the_same_bound(server: ServerProcess) -> None:
    before_kib = memory_kib(server)
    with server.connect() as client, suppress(BrokenPipeError, ConnectionResetError):
        client.settimeout(20)
        client.sendall(f"POST {HALF}:predict HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        piece = b"1000000\r\n" + b" " * (16 << 20) + b"\r\n"
        for _ in range(40):
            client.sendall(piece)
        assert client.recv(12) == b"HTTP/1.1 400"
    assert server.get(HALF).ok
    assert memory_kib(server) - before_kib < 400 << 10


def memory_kib(server: ServerProcess) -> int:
    """The most that it ever held."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0])


def test_requests_of_one_session_keep_their_connection(server: ServerProcess) -> None:
    with requests.Session() as session:
        for _ in range(3):
            answer = session.post(server.url + HALF + ":predict", data=b'{"instances": [[1.0]]}', timeout=60)
            assert answer.ok
            assert "close" not in answer.headers.get("connection", "")
        adapter = session.get_adapter(server.url)
        assert isinstance(adapter, HTTPAdapter)
        pools = adapter.poolmanager.pools
        opened = [pools[key].num_connections for key in pools.keys()]  # noqa: SIM118 - not a dict
    assert opened == [1]


def test_a_request_that_waits_too_long_for_its_turn_times_out(server: ServerProcess) -> None:
    statuses: list[int] = []
    slow = {"signature_name": "slow", "instances": [0.9]}
    clients = [
        threading.Thread(target=lambda: statuses.append(server.post(HALF + ":predict", slow).status_code))
        for _ in range(4)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert set(statuses) == {200, 504}


def test_a_client_that_hangs_up_in_the_middle_harms_nobody(server: ServerProcess) -> None:
    with server.connect() as client:
        client.sendall(b"POST /v1/models/half:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{")
    assert server.half_plus("half") == 3.0
