"""What is no message of ours: wrong in its kind, frames, fields, types or bounds, and never more than refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sniffer.core.errors import ContractError
from sniffer.core.records import Outcome
from sniffer.scan.messages import (
    MAX_HEADER_BYTES,
    MAX_HELD,
    PROTOCOL,
    Done,
    Hello,
    Unintelligible,
    encode,
    from_consumer,
    from_producer,
)

DEEP = b"[" * 60_000 + b"]" * 60_000


def hello(**fields: Any) -> bytes:
    return json.dumps({"protocol": PROTOCOL, "name": "c", "credit": 4} | fields).encode()


def done(outcomes: Any, **fields: Any) -> bytes:
    return json.dumps({"session": "s", "outcomes": outcomes, "credit": 1} | fields).encode()


WRONG = {
    "no frame": [],
    "an empty frame": [b""],
    "two empty frames": [b"", b""],
    "another kind": [b"Nonsense", b"{}"],
    "a word of release 1": [b"Beat", b"{}"],
    "what only a producer says": [b"Welcome", b'{"session":"s","scan_id":"i","model_version":1,"rescan":false}'],
    "one frame": [b"Done"],
    "a frame too many": [b"Hello", hello(), b""],
    "no JSON": [b"Done", b"["],
    "a list": [b"Done", b"[]"],
    "no UTF-8": [b"Hello", b'{"protocol": 3, "name": "\xff", "credit": 1}'],
    "half a surrogate pair": [b"Hello", b'{"protocol": 3, "name": "\\ud800", "credit": 1}'],
    "deep JSON": [b"Heartbeat", DEEP],
    "deep JSON in an unknown field": [b"Hello", b'{"protocol": 3, "name": "c", "credit": 1, "x": ' + DEEP + b"}"],
    "deep JSON before the version": [b"Hello", b'{"x": ' + DEEP + b', "protocol": 3, "name": "c"}'],
    "no version": [b"Hello", b'{"name": "c", "credit": 1}'],
    "a version that is text": [b"Hello", hello(protocol="3")],
    "a negative version": [b"Hello", hello(protocol=-1)],
    "a huge version": [b"Hello", b'{"protocol": 1' + b"0" * 400 + b', "name": "c"}'],
    "a credit that is text": [b"Hello", hello(credit="4")],
    "a negative credit": [b"Hello", hello(credit=-1)],
    "a giant credit": [b"Hello", hello(credit=MAX_HELD + 1)],
    "half a credit": [b"Hello", hello(credit=1.5)],
    "a boolean": [b"Hello", hello(credit=True)],
    "a null": [b"Hello", hello(credit=None)],
    "not a number": [b"Hello", b'{"protocol": 3, "name": "c", "credit": NaN}'],
    "infinity": [b"Hello", b'{"protocol": 3, "name": "c", "credit": 1e999}'],
    "a field too many": [b"Hello", hello(region="eu")],
    "a field too few": [b"Done", b'{"session": "s", "credit": 1}'],
    "a long name": [b"Hello", hello(name="c" * 10_000)],
    "lists of lists": [b"Heartbeat", b'{"holds": [[1], [2]]}'],
    "too many numbers": [b"Heartbeat", json.dumps({"holds": list(range(MAX_HELD + 1))}).encode()],
    "a negative number": [b"HandBack", b'{"session": "s", "numbers": [-1]}'],
    "numbers that are text": [b"HandBack", b'{"session": "s", "numbers": "12"}'],
    "an unknown outcome": [b"Done", done([[1, "scored"]])],
    "an outcome too long": [b"Done", done([[1, "predicted", 2]])],
    "outcomes as an object": [b"Done", done({"1": "predicted"})],
    "an outcome that is a number": [b"Done", done([["predicted", 1]])],
    "fatal as a number": [b"Leave", b'{"error": "e", "fatal": 1}'],
    "a long error": [b"Leave", json.dumps({"error": "e" * 100_000}).encode()],
    "a header over the limit": [b"Leave", b'{"error": "e"}' + b" " * MAX_HEADER_BYTES],
}


@pytest.mark.parametrize("frames", WRONG.values(), ids=WRONG.keys())
def test_what_a_consumer_says_wrongly_is_unintelligible_in_one_short_line(frames: list[bytes]) -> None:
    message = from_consumer(frames)
    assert isinstance(message, Unintelligible)
    assert "protocol" in message.reason and len(message.reason) < 400 and message.reason.isprintable()


def work(**changes: Any) -> bytes:
    image = {"bucket": "b", "key": "k", "etag": "e", "size_bytes": 1, "last_modified": "2026-11-20T00:00:00Z"}
    header = {"session": "s", "number": 1, "image": image | changes.pop("image", {}), "verdict": None}
    return json.dumps(header | changes).encode()


@pytest.mark.parametrize(
    "frames",
    [
        [b"Work", work()],
        [b"Work", work(), b"", b""],
        [b"Work", work(number="1"), b""],
        [b"Work", work(image={"size_bytes": "1"}), b""],
        [b"Work", work(image={"key": 7}), b""],
        [b"Work", work(image={"last_modified": "yesterday"}), b""],
        [b"Work", work(image={"last_modified": "2026-11-20T00:00:00"}), b""],
        [b"Work", work(verdict={"outcome": "scored", "code": "c", "message": "m"}), b""],
        [b"Work", b'{"x": ' + DEEP + b"}", b""],
        [b"Welcome", b'{"session":"s","scan_id":"i","model_version":"1","rescan":false}'],
        [b"Welcome", b'{"session":"s","scan_id":"i","model_version":1,"rescan":0}'],
        [b"Welcome", b'{"session":"s","scan_id":"","model_version":1,"rescan":false}'],
        [b"Refused", b'{"reason": null}'],
        [b"Done", done([])],
        [b""],
        [],
    ],
)
def test_what_a_producer_says_wrongly_is_a_broken_contract(frames: list[bytes]) -> None:
    with pytest.raises(ContractError, match=f"not of protocol {PROTOCOL}"):
        from_producer(frames)


def test_a_hello_of_any_protocol_is_understood_so_that_it_can_be_refused() -> None:
    for header in (
        b'{"protocol": 7, "name": "newer", "credit": {"images": 4}, "region": "eu"}',
        b'{"name": "newer", "protocol": 7}',
        b'{"protocol": 7, "name": "newer", "credit": -1, "holds": [[]]}',
    ):
        assert from_consumer([b"Hello", header]) == Hello(7, "newer", 0)


def test_the_largest_honest_message_fits() -> None:
    numbers = range(2**53 - MAX_HELD, 2**53)
    message = Done("s" * 64, tuple((number, Outcome.UNREADABLE) for number in numbers), MAX_HELD)
    assert from_consumer(encode(message)) == message
