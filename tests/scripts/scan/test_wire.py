"""Messages and sockets: every message comes back as it went, over real sockets, in the clear and with CURVE."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import zmq

from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.records import ListedObject, Outcome, Unscored
from sniffer.core.settings import CurveKeys
from sniffer.scan.channel import ConsumerChannel, ConsumerLost, ProducerChannel
from sniffer.scan.messages import (
    PROTOCOL,
    Done,
    HandBack,
    Heartbeat,
    Hello,
    Leave,
    Refused,
    Reregister,
    ScanFinished,
    Unintelligible,
    Welcome,
    Work,
    decode,
    encode,
)
from sniffer.scan.wire import ConsumerSocket, ProducerSocket

IMAGE = ListedObject("bkt", "k 😀/%20+'\"", "etag-1", 5, datetime(2026, 11, 20, 1, 2, 3, tzinfo=UTC))
HELLO = Hello(PROTOCOL, "consumer-0", 64)
WELCOME = Welcome("s", "scan-1", 7, rescan=True)
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
    assert decode(encode(message)) == message


@pytest.mark.parametrize("frames", [[b"Nonsense", b"{}"], [b"Done"], [b"Done", b"["], [b"Work", b"{}"], []])
def test_foreign_frames_are_refused(frames: list[bytes]) -> None:
    with pytest.raises(ContractError, match="protocol"):
        decode(frames)


def test_a_hello_of_any_protocol_is_understood_so_that_it_can_be_refused() -> None:
    header = b'{"protocol": 7, "name": "newer", "credit": 4, "region": "eu"}'
    assert decode([b"Hello", header]) == Hello(7, "newer", 0)


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
            assert [name for name, _ in wait_for(producer)] == [b"known"]
            producer.send(b"known", ScanFinished())
            assert wait_for(consumer) == [ScanFinished()]
        for intruder in (CurveKeys(stranger, stranger_secret, server), None):
            with ConsumerSocket(producer.endpoint, b"intruder", intruder) as consumer:
                consumer.send(Hello(PROTOCOL, "intruder", 1))
                assert wait_for(producer, 1.0) == []
