"""Whatever comes to the producer's port, the scan ends as if it had not: real sockets, a real producer, its memory."""

from __future__ import annotations

import json
import os
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil
import pytest
import zmq
from support.fleet import Fleet, counted
from support.programs import Program, eventually

from sniffer.core.records import Outcome
from sniffer.scan.messages import MAX_HELD, PROTOCOL, Done, HandBack, Heartbeat, Hello, Leave, Welcome, Work, encode
from sniffer.scan.wire import ConsumerSocket
from sniffer_local.processes import free_port

MOST_MEMORY = 64 << 20
"""Bytes that any of these peers may cost the producer."""


@contextmanager
def producer_of(fleet: Fleet, images: int, **environ: str) -> Iterator[tuple[Program, str]]:
    """A producer that waits for its consumers."""
    fleet.fill(images)
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    with fleet.start(f"--endpoint={endpoint}", program="sniffer.scan.produce", **environ) as producer:
        with ConsumerSocket(endpoint, b"first") as first:
            first.send(Hello(PROTOCOL, "first", 0))
            eventually(lambda: "first joins" in producer.text() or producer.process.poll() is not None, "it listens")
            assert producer.process.poll() is None, producer.text()
            first.send(Leave())
        yield producer, endpoint


def finish(fleet: Fleet, producer: Program, endpoint: str, images: int) -> None:
    """A good consumer does the work, and the certificate holds."""
    with Program("sniffer.scan.consume", f"--endpoint={endpoint}", environ=fleet.environ) as consumer:
        assert (producer.wait(), consumer.wait()) == (0, 0), producer.text()
    assert counted(fleet.certificate()) == {"predicted": images}
    fleet.assert_every_object_has_one_row()


def memory(program: Program) -> int:
    return int(psutil.Process(program.process.pid).memory_info().rss)


def _http(place: tuple[str, int]) -> None:
    with socket.create_connection(place) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nHost: producer\r\n\r\n" + b"a: b\r\n" * 1000)
        peer.settimeout(0.2)
        with suppress(OSError):
            peer.recv(1000)


def _tls(place: tuple[str, int]) -> None:
    with socket.create_connection(place, timeout=1) as peer, suppress(OSError):
        ssl._create_unverified_context().wrap_socket(peer)


def _random(place: tuple[str, int]) -> None:
    for _ in range(50):
        with socket.create_connection(place) as peer, suppress(OSError):
            peer.sendall(os.urandom(10_000))


def _port_scan(place: tuple[str, int]) -> None:
    for _ in range(300):
        socket.create_connection(place).close()


GREETING_1 = b"\x01\x00"
"""An anonymous peer of ZMTP 1.0, which needs no handshake."""


def _huge_frame_1(place: tuple[str, int]) -> None:
    with socket.create_connection(place) as peer, suppress(OSError):
        peer.sendall(GREETING_1 + b"\xff" + struct.pack(">Q", (4 << 30) + 1) + b"\x00" + b"x" * (1 << 20))


def _empty_frames_1(place: tuple[str, int]) -> None:
    with socket.create_connection(place) as peer, suppress(OSError):
        peer.sendall(GREETING_1 + b"\x01\x00" * 1000 + b"\x01\x01" * 1000 + b"\x01\x00")


def _huge_frame_3(place: tuple[str, int]) -> None:
    """A header of 4 GiB, after a whole handshake of ZMTP 3.0."""
    greeting = b"\xff" + b"\x00" * 8 + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\x00") + b"\x00" * 32
    ready = b"\x05READY" + b"\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
    with socket.create_connection(place) as peer, suppress(OSError):
        peer.sendall(greeting + b"\x04" + bytes([len(ready)]) + ready)
        peer.sendall(b"\x02" + struct.pack(">Q", 4 << 30) + b"x" * (1 << 20))


RAW: dict[str, Callable[[tuple[str, int]], None]] = {
    "HTTP": _http,
    "TLS": _tls,
    "random bytes": _random,
    "port scan": _port_scan,
    "4 GiB frame of ZMTP 1": _huge_frame_1,
    "4 GiB frame of ZMTP 3": _huge_frame_3,
    "empty frames": _empty_frames_1,
}


def test_foreign_bytes_on_the_port_end_nothing_and_cost_little(fleet: Fleet) -> None:
    with producer_of(fleet, 5) as (producer, endpoint):
        before = memory(producer)
        for speak in RAW.values():
            speak(("127.0.0.1", int(endpoint.rpartition(":")[2])))
        assert memory(producer) - before < MOST_MEMORY
        finish(fleet, producer, endpoint, 5)


def _bad_messages() -> list[list[bytes]]:
    numbers = json.dumps({"session": "", "holds": list(range(20_000))}).encode()
    fields: list[dict[str, Any]] = [{"credit": "4"}, {"credit": -1}, {"credit": 10**30}, {"region": "\x1b[2J\nERROR"}]
    hellos = [{"protocol": PROTOCOL, "name": "bad", "credit": 1} | field for field in fields]
    return [
        [b""],
        [b"Nonsense"],
        [b"\x1b[31m\nverdict    the certificate holds", b"{}"],
        [b"Heartbeat", numbers],
        [b"Heartbeat", b"[" * 100_000],
        [b"Hello", b"\xff\xfe"],
        [b"Beat", b"{}"],
        [b"Bye", b'{"error": "x", "fatal": true}'],
        *([b"Hello", json.dumps(hello).encode()] for hello in hellos),
    ]


def test_wrong_messages_are_logged_once_a_peer_and_end_nothing(fleet: Fleet) -> None:
    with producer_of(fleet, 5) as (producer, endpoint), zmq.Context() as context:
        before = memory(producer)
        for number, frames in enumerate(_bad_messages()):
            with context.socket(zmq.DEALER) as peer:
                peer.identity = b"bad\n-%d" % number
                peer.connect(endpoint)
                for _ in range(500):
                    peer.send_multipart(frames)
                assert peer.poll(10_000)
                assert peer.recv_multipart()[0] == b"Refused"
        assert memory(producer) - before < MOST_MEMORY
        finish(fleet, producer, endpoint, 5)
    refusals = [line for line in producer.err if " is refused: " in line]
    assert len(refusals) == len(_bad_messages())
    assert all(line.isprintable() and len(line) < 600 and "bad\\n-" in line for line in refusals)
    assert not any(line.startswith("verdict    the certificate holds") for line in producer.err)


def test_thousands_of_wrong_peers_fill_neither_memory_nor_log(fleet: Fleet) -> None:
    with producer_of(fleet, 5) as (producer, endpoint), zmq.Context() as context:
        before = memory(producer)
        for number in range(1500):
            with context.socket(zmq.DEALER) as peer:
                peer.identity = b"flood-%d" % number
                peer.connect(endpoint)
                peer.send_multipart([b"x" * 10_000, b"y"])
                assert peer.poll(10_000), f"peer {number} got no answer"
        assert memory(producer) - before < MOST_MEMORY
        finish(fleet, producer, endpoint, 5)
    assert len([line for line in producer.err if " is refused: " in line]) < 200


def test_one_consumer_that_calls_all_wrong_ends_nothing(fleet: Fleet) -> None:
    with producer_of(fleet, 5) as (producer, endpoint):
        with ConsumerSocket(endpoint, b"alarm") as peer:
            for _ in range(20):
                peer.send(Hello(PROTOCOL, "alarm", 2))
                peer.send(Leave("the model is wrong\n\x1b[2J", fatal=True))
            eventually(lambda: r"leaves: the model is wrong \x1b[2J" in producer.text(), "it is heard")
        finish(fleet, producer, endpoint, 5)


def test_what_a_liar_claims_counts_for_nothing(fleet: Fleet) -> None:
    with producer_of(fleet, 8) as (producer, endpoint), ConsumerSocket(endpoint, b"liar") as liar:
        liar.send(Hello(PROTOCOL, "liar", 2))
        heard: list[object] = []

        def has_work() -> bool:
            liar.wait(0.1)
            heard.extend(liar.receive())
            return sum(isinstance(message, Work) for message in heard) == 2

        eventually(has_work, "two images")
        (session,) = [message.session for message in heard if isinstance(message, Welcome)]
        held = {message.number for message in heard if isinstance(message, Work)}
        foreign = tuple(number for number in range(100) if number not in held)
        liar.send(Done(session, tuple((number, Outcome.PREDICTED) for number in foreign), 0))
        liar.send(HandBack(session, foreign))
        liar.send(Heartbeat(session, foreign))
        liar.send(Done("another session", ((0, Outcome.PREDICTED),), MAX_HELD))
        liar.send(Leave())
        finish(fleet, producer, endpoint, 8)


def test_a_flood_of_hellos_by_one_that_never_reads_is_bounded(fleet: Fleet) -> None:
    with producer_of(fleet, 5) as (producer, endpoint), zmq.Context() as context:
        with context.socket(zmq.DEALER) as peer:
            peer.identity, peer.rcvhwm = b"deaf", 1
            peer.connect(endpoint)
            before = memory(producer)
            for _ in range(100_000):
                peer.send_multipart(encode(Hello(PROTOCOL, "deaf", 0)))
            eventually(lambda: "deaf joins" in producer.text(), "it joins")
            assert memory(producer) - before < MOST_MEMORY
        finish(fleet, producer, endpoint, 5)
    assert producer.text().count("deaf joins") < 130


def test_a_fleet_with_two_limits_on_images_is_told(fleet: Fleet) -> None:
    with producer_of(fleet, 3) as (producer, endpoint):
        small = fleet.environ | {"SNIFFER_MAX_IMAGE_BYTES": "1000000"}
        with Program("sniffer.scan.consume", f"--endpoint={endpoint}", environ=small) as consumer:
            assert consumer.wait() == 2
        assert "its SNIFFER_MAX_IMAGE_BYTES is 1000000, this producer's 67108864" in consumer.text()
        finish(fleet, producer, endpoint, 3)


@pytest.mark.parametrize(
    "answer", [[b"Nonsense", b"\x1b[2J"], [b"Work", b"{}", b""], [b""], [b"Refused", b'{"reason":"a\\nb"}']]
)
def test_a_producer_that_lies_ends_a_consumer_in_one_line(fleet: Fleet, answer: list[bytes]) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as producer:
        port = producer.bind_to_random_port("tcp://127.0.0.1")
        endpoint = f"tcp://127.0.0.1:{port}"
        with Program("sniffer.scan.consume", f"--endpoint={endpoint}", environ=fleet.environ) as consumer:
            name, *_ = producer.recv_multipart()
            producer.send_multipart([name, *answer])
            assert consumer.wait() == 2
    assert len(consumer.err) == 1 and consumer.err[0].isprintable(), consumer.text()
    assert fleet.stored() == 0
