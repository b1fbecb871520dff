"""How the server starts, fails to start, and ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
import pytest
import requests
from support.model_server import START_LIMIT_S, ServerProcess, publish_version
from support.programs import eventually


def test_sigterm_lets_requests_under_way_finish_and_ends_with_status_0(saved_models: Path, tmp_path: Path) -> None:
    publish_version(saved_models / "plus_two", tmp_path / "m", 1)
    flags = ["--model_name=m", f"--model_base_path={tmp_path / 'm'}"]
    with ServerProcess(*flags) as server, requests.Session() as idle:
        server.wait_until_ready()
        assert idle.get(server.url + "/v1/models/m", timeout=10).ok
        answers: list[requests.Response] = []
        slow = {"signature_name": "slow", "instances": [2.0]}
        client = threading.Thread(target=lambda: answers.append(server.post("/v1/models/m:predict", slow)))
        computed_s = _computed_s(server)
        client.start()
        eventually(lambda: _computed_s(server) > computed_s + 0.3, "the request is being computed")
        assert not answers
        signalled_at = time.monotonic()
        server.signal(signal.SIGTERM)
        assert server.wait(20) == 0
        took_s = time.monotonic() - signalled_at
        client.join()
        assert answers[0].status_code == 200
        assert took_s < 10
        assert not server.is_listening()


def _computed_s(server: ServerProcess) -> float:
    times = psutil.Process(server.process.pid).cpu_times()
    return float(times.user)


@pytest.mark.slow
def test_a_model_that_cannot_be_served_ends_the_start_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "saved_model.pb").write_bytes(os.urandom(100))
    flags = ["--model_name=m", f"--model_base_path={tmp_path / 'm'}", "--max_num_load_retries=0"]
    with ServerProcess(*flags) as server:
        assert server.wait(START_LIMIT_S) == 2
        assert server.err[-1].startswith(f"sniffer serve: model m cannot be served: cannot load {tmp_path / 'm' / '1'}")


def test_a_port_that_is_taken_is_told_at_once(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        flags = [f"--model_base_path={tmp_path}", f"--rest_api_port={taken.getsockname()[1]}"]
        with ServerProcess(*flags) as server:
            assert server.wait() == 2
            assert "choose another --rest_api_port" in server.text()


@pytest.mark.slow
def test_sigterm_while_waiting_for_a_first_version_ends_with_status_0(tmp_path: Path) -> None:
    with ServerProcess(f"--model_base_path={tmp_path / 'none_yet'}") as server:
        server.wait_for_line("cannot look for versions")
        server.signal(signal.SIGTERM)
        assert server.wait(5) == 0


ENDS_WITHIN_S = 5.0
SLOW = {"signature_name": "slow", "instances": [30.0]}


def _sends(server: ServerProcess, body: bytes, length: int) -> socket.socket:
    """A client that has sent so much of a request, and reads nothing."""
    client = server.connect()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.sendall(f"POST /v1/models/m:predict HTTP/1.1\r\nHost: m\r\nContent-Length: {length}\r\n\r\n".encode() + body)
    return client


def test_sigterm_ends_the_server_whatever_its_clients_do(saved_models: Path, tmp_path: Path) -> None:
    publish_version(saved_models / "plus_two", tmp_path / "m", 1)
    many = json.dumps({"instances": [[float(n)] for n in range(300_000)]}).encode()
    slow = json.dumps(SLOW).encode()
    flags = ["--model_name=m", f"--model_base_path={tmp_path / 'm'}", "--file_system_poll_wait_seconds=1"]
    with ServerProcess(*flags) as server, ExitStack() as clients:
        server.wait_until_ready()
        # A version that takes half a minute to load.
        publish_version(saved_models / "slow_warm_up", tmp_path / "m", 2)
        eventually(lambda: server.states("m").get(2) == "LOADING", "version 2 is being loaded")
        # One that never reads its answer, one that never sends its body, and many whose answers take half a minute.
        clients.enter_context(_sends(server, many, len(many)))
        clients.enter_context(_sends(server, slow[:10], len(slow)))
        computed_s = _computed_s(server)
        for _ in range(40):
            clients.enter_context(_sends(server, slow, len(slow)))
        eventually(lambda: _computed_s(server) > computed_s + 1.0, "requests are being computed")
        signalled_at = time.monotonic()
        server.signal(signal.SIGTERM)
        assert server.wait(20) == 0
        assert time.monotonic() - signalled_at < ENDS_WITHIN_S
        assert "Traceback" not in server.text()
        assert not server.is_listening()
