"""Messages and sockets: every message comes back as it went, over real sockets, in the clear and with CURVE."""

from __future__ import annotations

import stat
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import zmq
from support.programs import eventually

from sniffer.core.errors import SettingsError
from sniffer.core.records import ListedObject, Outcome, Unscored
from sniffer.core.settings import CurveKeys
from sniffer.scan.channel import ConsumerChannel, ConsumerLost, ProducerChannel
from sniffer.scan.messages import (
    MAX_HEADER_BYTES,
    PROTOCOL,
    Done,
    HandBack,
    Heartbeat,
    Hello,
    Leave,
    Refused,
    Reregister,
    ScanFinished,
    ToProducer,
    Unintelligible,
    Welcome,
    Work,
    encode,
    from_consumer,
    from_producer,
)
from sniffer.scan.wire import AT_ONCE, ConsumerSocket, ProducerSocket

IMAGE = ListedObject("bkt", "k 😀/%20+'\"", "etag-1", 5, datetime(2026, 11, 20, 1, 2, 3, tzinfo=UTC))
HELLO = Hello(PROTOCOL, "consumer-0", 64)
WELCOME = Welcome("s", "scan-1", 7, rescan=True, scan_number=3, run_number=2)
MESSAGES = [
    HELLO,
    Done("s", ((1, Outcome.PREDICTED), (2, Outcome.UNREADABLE)), 2),
    HandBack("s", (3, 4)),
    Leave("MySQL is away", fatal=True),
    Heartbeat("s", (1, 2)),
    Reregister(),
    WELCOME,
    Work("s", 5, IMAGE, None, b"\x00\xff" * 1000),
    Work("s", 6, IMAGE, Unscored(Outcome.GONE, "deleted", "it is gone"), b""),
    ScanFinished(),
    Refused("another protocol"),
]


def key_pair() -> tuple[str, str]:
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


def wait_for(channel: ProducerChannel | ConsumerChannel, timeout_s: float = 5.0) -> list[Any]:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        channel.wait(0.1)
        found = list(channel.receive())
        if found:
            return found
    return []


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_a_message_comes_back_as_it_went(message: Any) -> None:
    read = from_consumer if isinstance(message, ToProducer) else from_producer
    assert read(encode(message)) == message


def test_frames_of_another_release_reach_the_producer_as_such(tmp_path: Path) -> None:
    with (
        ProducerSocket(f"ipc://{tmp_path}/fleet") as producer,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as peer,
    ):
        peer.identity = b"old"
        peer.connect(producer.endpoint)
        peer.send_multipart([b"Beat", b"{}"])
        ((name, message),) = wait_for(producer)
    assert name == b"old"
    assert isinstance(message, Unintelligible) and "Beat" in message.reason


def test_both_ways_over_a_private_socket(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/fleet"
    with ConsumerSocket(endpoint, b"early") as consumer, ProducerSocket(endpoint) as producer:
        consumer.send(HELLO)
        assert wait_for(producer) == [(b"early", HELLO)]
        producer.send(b"early", WELCOME)
        assert wait_for(consumer) == [WELCOME]


def test_sending_to_nobody_says_so(tmp_path: Path) -> None:
    with ProducerSocket(f"ipc://{tmp_path}/fleet") as producer, pytest.raises(ConsumerLost):
        producer.send(b"nobody", ScanFinished())


def test_the_waker_ends_a_wait_from_any_thread(tmp_path: Path) -> None:
    with ProducerSocket(f"ipc://{tmp_path}/fleet") as producer:
        producer.wake()
        began = time.monotonic()
        producer.wait(10)
        assert list(producer.receive()) == []
        assert time.monotonic() - began < 5


def test_an_address_open_to_the_network_needs_curve() -> None:
    for socket in (ProducerSocket, lambda endpoint: ConsumerSocket(endpoint, b"c")):
        with pytest.raises(SettingsError, match="CURVE"):
            socket("tcp://0.0.0.0:5555")


def test_with_curve_nobody_speaks_under_the_name_of_another_key() -> None:
    (server, server_secret), (honest, honest_secret), (other, other_secret) = (key_pair() for _ in range(3))
    keys = CurveKeys(server, server_secret, server)
    with (
        ProducerSocket("tcp://127.0.0.1:*", keys, frozenset({honest, other})) as producer,
        ConsumerSocket(producer.endpoint, b"honest", CurveKeys(honest, honest_secret, server)) as consumer,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as intruder,
    ):
        consumer.send(HELLO)
        ((name, _),) = wait_for(producer)
        intruder.curve_publickey, intruder.curve_secretkey = other.encode(), other_secret.encode()
        intruder.curve_serverkey = server.encode()
        intruder.identity = name
        intruder.connect(producer.endpoint)
        intruder.send_multipart(encode(Done("s", ((0, Outcome.PREDICTED),), 0)))
        ((claimed, message),) = wait_for(producer)
    assert claimed != name
    assert isinstance(message, Unintelligible) and "CURVE key" in message.reason


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_both_versions_of_the_internet_protocol(host: str) -> None:
    with (
        ProducerSocket(f"tcp://{host}:*") as producer,
        ConsumerSocket(producer.endpoint, b"c") as consumer,
    ):
        consumer.send(HELLO)
        assert wait_for(producer) == [(b"c", HELLO)]
        producer.send(b"c", WELCOME)
        assert wait_for(consumer) == [WELCOME]


def test_every_address_of_the_machine_with_curve() -> None:
    (server, server_secret), (known, known_secret) = key_pair(), key_pair()
    with ProducerSocket("tcp://[::]:*", CurveKeys(server, server_secret, server), frozenset({known})) as producer:
        port = producer.endpoint.rpartition(":")[2]
        for host in ("[::1]", "127.0.0.1"):
            keys = CurveKeys(known, known_secret, server)
            with ConsumerSocket(f"tcp://{host}:{port}", b"c", keys) as consumer:
                consumer.send(HELLO)
                assert [message for _, message in wait_for(producer)] == [HELLO]


def test_nobody_else_may_open_the_file_of_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "fleet"
    with ProducerSocket(f"ipc://{path}"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_a_frame_over_the_limit_is_never_received(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/fleet"
    with (
        ProducerSocket(endpoint) as producer,
        ConsumerSocket(endpoint, b"small", max_image_bytes=1 << 20) as consumer,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as peer,
    ):
        peer.connect(endpoint)
        peer.send_multipart([b"Hello", b" " * (MAX_HEADER_BYTES + 1)])
        consumer.send(HELLO)
        assert wait_for(producer) == [(b"small", HELLO)]
        assert wait_for(producer, 0.5) == []
        producer.send(b"small", Work("s", 1, IMAGE, None, bytes(1 << 20)))
        assert [message.number for message in wait_for(consumer)] == [1]
        producer.send(b"small", Work("s", 2, IMAGE, None, bytes((1 << 20) + 1)))
        assert wait_for(consumer, 0.5) == []
        context.destroy(linger=0)


def test_a_peer_that_never_stops_leaves_the_loop_its_turn(tmp_path: Path) -> None:
    with (
        ProducerSocket(f"ipc://{tmp_path}/fleet") as producer,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as peer,
    ):
        peer.sndhwm = 0  # what nobody reads yet waits here
        peer.connect(producer.endpoint)
        for _ in range(5 * AT_ONCE):
            peer.send_multipart([b"Heartbeat", b"{}", *[b""] * 20])
        taken: list[int] = []

        def all_taken() -> bool:
            taken.append(len(list(producer.receive())))
            return sum(taken) == 5 * AT_ONCE

        eventually(all_taken, "all of it, in several turns")
        assert max(taken) <= AT_ONCE


def test_a_taken_address_is_named(tmp_path: Path) -> None:
    with ProducerSocket("tcp://127.0.0.1:*") as first:
        second = ProducerSocket(first.endpoint)
        with pytest.raises(SettingsError, match=f"cannot listen on {first.endpoint}"):
            second.open()


def test_with_curve_a_known_key_is_heard_and_an_unknown_one_gets_nothing() -> None:
    (server, server_secret), (known, known_secret), (stranger, stranger_secret) = (key_pair() for _ in range(3))
    keys = CurveKeys(server, server_secret, server)
    with ProducerSocket("tcp://127.0.0.1:*", keys, frozenset({known})) as producer:
        with ConsumerSocket(producer.endpoint, b"known", CurveKeys(known, known_secret, server)) as consumer:
            consumer.send(Hello(PROTOCOL, "known", 1))
            ((name, _),) = wait_for(producer)
            assert name.startswith(b"known~")
            producer.send(name, ScanFinished())
            assert wait_for(consumer) == [ScanFinished()]
        for intruder in (CurveKeys(stranger, stranger_secret, server), None):
            with ConsumerSocket(producer.endpoint, b"intruder", intruder) as consumer:
                consumer.send(Hello(PROTOCOL, "intruder", 1))
                assert wait_for(producer, 1.0) == []
