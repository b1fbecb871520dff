"""A model server, or what stands in its place, that lies: a fault that passes, then a clear error, never a score."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from sniffer.adapters.serving import MAX_ANSWER_BYTES, ModelServer
from sniffer.core.errors import ContractError, SnifferError, TransientError
from sniffer.core.model_records import PIXEL_BYTES
from sniffer.core.settings import ServingSettings

PIXELS = bytes(PIXEL_BYTES)
GOOD = b'{"predictions": [0.5]}'


def answer(body: bytes, headers: bytes = b"", status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), headers, body)


@contextmanager
def served(*speakers: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server whose connections are answered by these, one after the other; the last one answers all that follow."""
    listener = socket.create_server(("127.0.0.1", 0))
    left = list(speakers)

    def serve() -> None:
        while True:
            try:
                peer = listener.accept()[0]
            except OSError:
                return
            with peer, suppress(OSError):
                received = b""
                while not received.endswith(b"]}"):
                    received += peer.recv(1 << 20)
                (left.pop(0) if len(left) > 1 else left[0])(peer)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/models/m"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def sends(data: bytes) -> Callable[[socket.socket], None]:
    return lambda peer: peer.sendall(data)


def endless(peer: socket.socket) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        peer.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")


def dripping(peer: socket.socket) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        peer.sendall(b" ")
        time.sleep(0.05)


def dripping_head(peer: socket.socket) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        peer.sendall(b"y")
        time.sleep(0.05)


def continuations(peer: socket.socket) -> None:
    while True:
        peer.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def predicted(url: str, patience_s: float = 0.3) -> list[float]:
    settings = ServingSettings(url, patience_s=patience_s, connect_timeout_s=1, read_timeout_s=0.5)
    with ModelServer(settings) as server:
        return server.predict(1, [PIXELS])


BOMB = 100 * gzip.compress(bytes(1 << 20))
"""Members of one stream."""


@pytest.mark.parametrize(
    ("speak", "message"),
    [
        (endless, f"an answer of more than {MAX_ANSWER_BYTES} bytes|that does not end"),
        (dripping, "an answer that does not end within 0.5 s"),
        (sends(answer(BOMB, b"Content-Encoding: gzip\r\n")), "compressed"),
        (sends(answer(BOMB, b"Content-Encoding: deflate\r\n")), "compressed"),
        (sends(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"), "has not answered"),
        (dripping_head, "has not answered.*drips"),
        (continuations, "has not answered.*goes on"),
        (sends(b"no HTTP at all\r\n\r\n"), "has not answered"),
        (sends(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n"), "has not answered"),
    ],
)
def test_an_answer_that_is_none_is_asked_for_again_then_given_up(
    speak: Callable[[socket.socket], None], message: str
) -> None:
    with served(speak) as url:
        began = time.monotonic()
        with pytest.raises(TransientError, match=message):
            predicted(url)
        assert time.monotonic() - began < 10
    with served(speak, sends(answer(GOOD))) as url:
        assert predicted(url, 10) == [0.5]


@pytest.mark.parametrize(
    "wrong",
    [
        answer(b"<html>welcome</html>", b"Content-Type: text/html\r\n"),
        answer(b"", b"Location: http://127.0.0.1:1/\r\n", b"302 Found"),
        answer(b"", b"Location: /elsewhere\r\n", b"307 Temporary Redirect"),
        answer(b'{"predictions": ["0.5"]}'),
        answer(b'{"predictions": [0.5, 0.5]}'),
        answer(b'{"predictions": [NaN]}'),
    ],
)
def test_a_wrong_answer_is_a_fault_that_passes_or_a_broken_contract(wrong: bytes) -> None:
    with served(sends(wrong), sends(wrong), sends(answer(GOOD))) as url:
        assert predicted(url, 10) == [0.5]
    with served(sends(wrong)) as url, pytest.raises(ContractError, match="answered") as error:
        predicted(url, 60)
    assert isinstance(error.value, SnifferError) and str(error.value).isprintable()
