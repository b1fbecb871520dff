"""Peers that send one message without an end cost the producer little, and honest ones lose nothing for it."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest
import zmq
from support.programs import eventually

from sniffer.core.records import Outcome
from sniffer.core.settings import CurveKeys
from sniffer.scan import connections
from sniffer.scan.connections import LOOK_S, most_unread_bytes
from sniffer.scan.messages import MAX_HEADER_BYTES, PROTOCOL, Done, Hello, encode
from sniffer.scan.wire import UNREAD_MESSAGES, ConsumerSocket, ProducerSocket

MOST_MEMORY = 600 << 20
"""What 9 MB of empty frames become in ZeroMQ is 64 bytes of each 2; then comes what arrives before the next look."""
HELLO = Hello(PROTOCOL, "honest", 0)
GREETING = b"\xff" + b"\x00" * 8 + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\x00") + b"\x00" * 32
READY = b"\x05READY" + b"\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
MORE_EMPTY = b"\x01\x00"
MORE_LARGE = b"\x03" + struct.pack(">Q", 100_000) + b"x" * 100_000


@contextmanager
def zmtp(endpoint: str) -> Iterator[socket.socket]:
    """A bare connection after the handshake of ZMTP 3.0."""
    port = int(endpoint.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(GREETING + b"\x04" + bytes([len(READY)]) + READY)
        heard = b""
        while b"READY" not in heard:  # what comes sooner, ZeroMQ may take for nonsense
            heard += peer.recv(1 << 16)
        yield peer


def send_until_cut(peer: socket.socket, frame: bytes, most_bytes: int = 1 << 30) -> int:
    """How many bytes could be sent."""
    piece, sent = frame * max(1, 100_000 // len(frame)), 0
    with suppress(ConnectionError):
        while sent < most_bytes:
            peer.sendall(piece)
            sent += len(piece)
    return sent


def memory() -> int:
    return int(psutil.Process().memory_info().rss)


def received(producer: ProducerSocket, count: int) -> list[bytes]:
    """The kinds of so many messages."""
    found: list[bytes] = []

    def is_all() -> bool:
        producer.wait(0.05)
        found.extend(type(message).__name__.encode() for _, message in producer.receive())
        return len(found) >= count

    eventually(is_all, f"{count} messages")
    return found


@pytest.mark.parametrize("frame", [MORE_EMPTY, MORE_LARGE], ids=["empty frames", "large frames"])
def test_a_message_without_an_end_is_cut_off(frame: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with ProducerSocket("tcp://127.0.0.1:*") as producer, ConsumerSocket(producer.endpoint, b"honest") as consumer:
        before = memory()
        with zmtp(producer.endpoint) as peer:
            assert send_until_cut(peer, frame) < 1 << 30
            assert memory() - before < MOST_MEMORY
        consumer.send(HELLO)
        assert received(producer, 1) == [b"Hello"]
    (line,) = [text for text in caplog.messages if "is closed" in text]
    assert line.startswith("a connection of 127.0.0.1 is closed: ")


def test_with_curve_a_listed_key_is_cut_off_too() -> None:
    (server, secret), (known, known_secret) = ([half.decode() for half in zmq.curve_keypair()] for _ in range(2))
    keys, theirs = CurveKeys(server, secret, server), CurveKeys(known, known_secret, server)
    with (
        ProducerSocket("tcp://127.0.0.1:*", keys, frozenset({known})) as producer,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as peer,
    ):
        peer.curve_publickey, peer.curve_secretkey, peer.curve_serverkey = (
            text.encode() for text in (known, known_secret, server)
        )
        monitor = peer.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        peer.linger = 0
        peer.connect(producer.endpoint)
        before = memory()
        # ZeroMQ sends a message when its last frame is there: from outside, an endless one looks like this one.
        for _ in range(2 * most_unread_bytes(UNREAD_MESSAGES) // 100_000):
            peer.send(b"x" * 100_000, zmq.SNDMORE, copy=False)
        peer.send(b"")
        assert monitor.poll(20_000), "it was not cut off"
        assert memory() - before < MOST_MEMORY
        with ConsumerSocket(producer.endpoint, b"honest", theirs) as consumer:
            consumer.send(HELLO)
            # The large message may have come whole, since what was on its way is still read.
            eventually(lambda: b"Hello" in received(producer, 1), "the honest one is heard")


def test_an_honest_peer_is_not_cut_off_however_long_nobody_reads() -> None:
    numbers = tuple((number, Outcome.PREDICTED) for number in range(10**15, 10**15 + 4000))
    largest = Done("s", numbers, 0)
    assert 100_000 < len(encode(largest)[1]) <= MAX_HEADER_BYTES
    with ProducerSocket("tcp://127.0.0.1:*") as producer, ConsumerSocket(producer.endpoint, b"honest") as consumer:
        for _ in range(4 * UNREAD_MESSAGES):
            consumer.send(largest)
        time.sleep(5 * LOOK_S)
        assert received(producer, 4 * UNREAD_MESSAGES) == [b"Done"] * 4 * UNREAD_MESSAGES


def test_a_message_now_and_then_buys_no_more() -> None:
    with ProducerSocket("tcp://127.0.0.1:*") as producer, zmtp(producer.endpoint) as peer:
        ended = threading.Event()

        def speak() -> None:
            with suppress(OSError):  # cut off, or the test is over
                while not ended.is_set():
                    send_until_cut(peer, MORE_LARGE, most_unread_bytes(UNREAD_MESSAGES) // 2)
                    peer.sendall(b"\x00\x00")  # the end of this message, and the next begins

        speaker = threading.Thread(target=speak)
        speaker.start()
        before, most = memory(), 0
        ends_at = time.monotonic() + 1
        while time.monotonic() < ends_at:
            producer.wait(0.05)
            list(producer.receive())
            most = max(most, memory() - before)
        ended.set()
        peer.shutdown(socket.SHUT_RDWR)
        speaker.join()
        assert most < MOST_MEMORY


def test_many_connections_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST_OF_ALL_BYTES", 10 << 20)
    with (
        ProducerSocket("tcp://127.0.0.1:*") as producer,
        zmtp(producer.endpoint) as small,
        zmtp(producer.endpoint) as one,
        zmtp(producer.endpoint) as two,
    ):
        small.sendall(MORE_EMPTY)
        for peer in (one, two):
            send_until_cut(peer, MORE_LARGE, 6 << 20)
        eventually(lambda: any(is_cut(peer) for peer in (one, two)), "one of the two is cut off")
        assert not is_cut(small)


def is_cut(peer: socket.socket) -> bool:
    peer.settimeout(0.01)
    try:
        while peer.recv(1 << 16):
            pass  # the rest of its greeting
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True
