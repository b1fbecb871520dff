"""Whoever should not speak to a producer, and tries to: a program, until it is killed. KIND ENDPOINT KEYS_FOLDER.

Prints a line for each attempt that was made, and what was answered to it.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import zmq

from sniffer.core.records import Outcome
from sniffer.scan.messages import MAX_HELD, PROTOCOL, Done, HandBack, Heartbeat, Hello, Leave, encode
from sniffer.scan.wire import mark_of

ANSWER_MS = 300
PAUSE_S = 0.02

_WORDS = [
    encode(Hello(PROTOCOL, "stranger", MAX_HELD)),
    encode(Done("", tuple((number, Outcome.PREDICTED) for number in range(64)), MAX_HELD)),
    encode(HandBack("", tuple(range(64)))),
    encode(Heartbeat("", tuple(range(64)))),
    encode(Leave("everything is wrong", fatal=True)),
]

_OTHER_RELEASE = [
    [b"Hello", b'{"protocol": %d, "name": "of next year", "credit": 64, "region": "eu"}' % (PROTOCOL + 1)],
    [b"Hello", b'{"protocol": 1, "name": "of last year"}'],
    [b"Done", b'{"session": "", "outcomes": [[0, "quarantined"]], "credit": 64, "seconds": 1.5}'],
    [b"Goodbye", b"\x82\xa5error\xa0"],
    [b"Heartbeat", b'{"session": "", "holds": []}', b"one frame more"],
]


@contextmanager
def _dealer(
    endpoint: str, keys: tuple[bytes, bytes] | None = None, server: bytes = b"", mark: bytes = b""
) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as peer:
        peer.linger = 0
        peer.identity = b"stranger-" + os.urandom(4).hex().encode() + mark
        if keys:
            peer.curve_publickey, peer.curve_secretkey = keys
            peer.curve_serverkey = server
        peer.connect(endpoint)
        yield peer


def _answer(peer: zmq.Socket[bytes], messages: list[list[bytes]]) -> str:
    for frames in messages:
        peer.send_multipart(frames)
    heard = []
    while peer.poll(ANSWER_MS):
        heard.append(peer.recv_multipart()[0].decode(errors="replace"))
    return " ".join(heard) or "nothing"


def no_key(endpoint: str, _: Path) -> str:
    """A peer without CURVE."""
    with _dealer(endpoint) as peer:
        return _answer(peer, _WORDS)


def old_key(endpoint: str, keys: Path) -> str:
    """A pair that is good, and not listed (any more); the producer's key is right."""
    pair = (keys / "old.pub").read_bytes(), (keys / "old.key").read_bytes()
    with _dealer(endpoint, pair, (keys / "producer.pub").read_bytes()) as peer:
        return _answer(peer, _WORDS)


def another_producer(endpoint: str, keys: Path) -> str:
    """A listed key, to a producer that has another key than this one."""
    pair = (keys / "consumer.pub").read_bytes(), (keys / "consumer.key").read_bytes()
    with _dealer(endpoint, pair, (keys / "old.pub").read_bytes()) as peer:
        return _answer(peer, _WORDS)


def another_release(endpoint: str, keys: Path) -> str:
    """A listed key, a name of that key, and messages of other releases."""
    pair = (keys / "consumer.pub").read_bytes(), (keys / "consumer.key").read_bytes()
    with _dealer(endpoint, pair, (keys / "producer.pub").read_bytes(), mark_of(pair[0].decode())) as peer:
        return _answer(peer, _OTHER_RELEASE)


def another_name(endpoint: str, keys: Path) -> str:
    """A listed key, and a name that is not one of its."""
    pair = (keys / "consumer.pub").read_bytes(), (keys / "consumer.key").read_bytes()
    with _dealer(endpoint, pair, (keys / "producer.pub").read_bytes()) as peer:
        return _answer(peer, _WORDS)


def garbage(endpoint: str, _: Path) -> str:
    """Bytes of no protocol, and beginnings of ZeroMQ's with garbage behind."""
    host, _colon, port = endpoint.removeprefix("tcp://").rpartition(":")
    curve = b"\xff" + b"\x00" * 8 + b"\x7f\x03\x01" + b"CURVE".ljust(20, b"\x00") + b"\x00" * 32
    for start in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02", curve, curve + b"\x04\xc8\x05HELLO"):
        with suppress(OSError), socket.create_connection((host, int(port)), timeout=2) as peer:
            peer.sendall(start + os.urandom(5_000))
    return "what became of it nobody knows"


KINDS: dict[str, Callable[[str, Path], str]] = {
    kind.__name__: kind for kind in (no_key, old_key, another_producer, another_name, another_release, garbage)
}


def main(kind: str, endpoint: str, keys: str) -> None:
    """Try, until the end."""
    while True:
        print(f"answer: {KINDS[kind](endpoint, Path(keys))}", flush=True)
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main(*sys.argv[1:])
