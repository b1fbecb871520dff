"""The messages between the producer and its consumers, and their frames.

A message is a kind, a JSON header and, for work, the image's raw bytes as a frame of their own. Every message that
names images carries the producer's session, so that a consumer that outlives its producer cannot acknowledge to the
next one. `Hello` (with `protocol` and `name`) and `Refused` stay as they are in every protocol: two releases that do
not understand each other must be able to say so.

A header is believed only when every field is there, of its type and within its bounds, and no other: what a peer sends
is no more than a claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from sniffer.core.errors import ContractError
from sniffer.core.records import FencingToken, ListedObject, Outcome, Unscored
from sniffer.core.text import one_line
from sniffer.core.variables import MAX_BATCH_SIZE, MAX_IMAGE_BYTES

PROTOCOL = 3
"""Raised with every change of a message, so that an old consumer is refused rather than misunderstood."""

MAX_HELD = 4 * MAX_BATCH_SIZE
"""Images that one consumer may hold or ask for: it holds one batch and collects the next."""

LONGEST_ERROR = 1000
"""Characters of an error that a consumer reports."""

MAX_HEADER_BYTES = 256 * 1024
"""No header is longer: MAX_HELD numbers with their outcomes take half of it."""

_Number = Annotated[int, Meta(ge=0, le=2**53)]
_Numbers = Annotated[tuple[_Number, ...], Meta(max_length=MAX_HELD)]
_Credit = Annotated[int, Meta(ge=0, le=MAX_HELD)]
_Session = Annotated[str, Meta(max_length=64)]
_Name = Annotated[str, Meta(max_length=256)]
_Outcomes = Annotated[tuple[tuple[_Number, Outcome], ...], Meta(max_length=MAX_HELD)]


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message; its fields are its header."""


class Hello(_Message, frozen=True):
    """From a consumer, first and after every `Reregister`: it would like `credit` images beside those it holds.

    `max_image_bytes` is what its socket takes at most as one image.
    """

    protocol: int
    name: _Name
    credit: _Credit
    session: _Session = ""
    holds: _Numbers = ()
    max_image_bytes: Annotated[int, Meta(ge=1)] = MAX_IMAGE_BYTES.default


class Done(_Message, frozen=True):
    """From a consumer: the rows of these images are committed, and it would like `credit` more."""

    session: _Session
    outcomes: _Outcomes
    credit: _Credit


class HandBack(_Message, frozen=True):
    """From a consumer: these images were not touched; give them to others."""

    session: _Session
    numbers: _Numbers


class Leave(_Message, frozen=True):
    """From a consumer: it ends, in good order if `error` is empty; it calls an error `fatal` that no retry helps."""

    error: Annotated[str, Meta(max_length=LONGEST_ERROR)] = ""
    fatal: bool = False


class Heartbeat(_Message, frozen=True):
    """From either side, at an interval: it is alive. A consumer also says which images it holds, and which of them are
    decoded, and this as soon as they are: if it dies later, it did not die of them."""

    session: _Session = ""
    holds: _Numbers = ()
    decoded: _Numbers = ()


class Unintelligible(_Message, frozen=True):
    """Stands for frames from a consumer that are no message of this protocol; never sent."""

    reason: str


class Reregister(_Message, frozen=True):
    """From the producer to a consumer it does not know: say hello (again)."""


class Welcome(_Message, frozen=True):
    """From the producer: what this scan is. Everything a consumer needs beside its own settings."""

    session: _Session
    scan_id: Annotated[str, Meta(min_length=1, max_length=120)]
    model_version: Annotated[int, Meta(ge=1, le=2**53)]
    rescan: bool
    scan_number: _Number
    run_number: _Number

    @property
    def token(self) -> FencingToken:
        """What entitles a consumer to write for this scan."""
        return FencingToken(self.scan_number, self.run_number)


class _WorkHeader(_Message, frozen=True):
    session: _Session
    number: _Number
    image: ListedObject
    verdict: Unscored | None


class Work(_WorkHeader, frozen=True):
    """From the producer: one image with its bytes, or with the verdict to record instead of decoding."""

    body: bytes = b""


class ScanFinished(_Message, frozen=True):
    """From the producer: every image has its outcome."""


class Refused(_Message, frozen=True):
    """From the producer: go away, for this reason."""

    reason: str


ToProducer = Hello | Done | HandBack | Leave | Heartbeat
FromConsumer = ToProducer | Unintelligible
FromProducer = Reregister | Welcome | Work | ScanFinished | Refused | Heartbeat

_TO_PRODUCER: dict[bytes, type[Any]] = {
    kind.__name__.encode(): kind for kind in (Hello, Done, HandBack, Leave, Heartbeat)
}
_TO_CONSUMER: dict[bytes, type[Any]] = {
    kind.__name__.encode(): kind for kind in (Reregister, Welcome, Work, ScanFinished, Refused, Heartbeat)
}


class _Greeting(msgspec.Struct, frozen=True):
    """What every release's `Hello` has, and all that is read of it before the releases are known to be the same."""

    protocol: Annotated[int, Meta(ge=0, lt=2**31)]
    name: _Name


def encode(message: ToProducer | FromProducer) -> list[bytes]:
    """The frames of a message."""
    kind = type(message).__name__.encode()
    if isinstance(message, Work):
        header = _WorkHeader(message.session, message.number, message.image, message.verdict)
        return [kind, msgspec.json.encode(header), message.body]
    return [kind, msgspec.json.encode(message)]


def from_consumer(frames: Sequence[bytes]) -> FromConsumer:
    """What a consumer says; `Unintelligible` when it is no message of ours: an odd peer is no error of this scan."""
    try:
        message: FromConsumer = _decode(frames, _TO_PRODUCER)
    except ContractError as error:
        return Unintelligible(str(error))
    return message


def from_producer(frames: Sequence[bytes]) -> FromProducer:
    """What the producer says; raises ContractError when it is no message of ours."""
    message: FromProducer = _decode(frames, _TO_CONSUMER)
    return message


def _decode(frames: Sequence[bytes], kinds: dict[bytes, type[Any]]) -> Any:
    kind = kinds.get(frames[0]) if frames else None
    if kind is None:
        raise _foreign(f"of the kind {frames[0][:40]!r}" if frames else "without a frame")
    if len(frames) != (3 if kind is Work else 2):
        raise _foreign(f"{kind.__name__} of {len(frames)} frames")
    if len(frames[1]) > MAX_HEADER_BYTES:
        raise _foreign(f"{kind.__name__} with a header of {len(frames[1])} bytes")
    try:
        return _read(kind, frames)
    except (ValueError, RecursionError) as error:
        raise _foreign(f"{kind.__name__}: {one_line(error, 200)}") from error


def _read(kind: type[Any], frames: Sequence[bytes]) -> Any:
    if kind is Hello:
        greeting = msgspec.json.decode(frames[1], type=_Greeting)
        if greeting.protocol != PROTOCOL:
            return Hello(greeting.protocol, greeting.name, credit=0)
    if kind is Work:
        header = msgspec.json.decode(frames[1], type=_WorkHeader)
        if header.image.last_modified.tzinfo is None:
            raise ValueError("a time without its offset")
        return Work(header.session, header.number, header.image, header.verdict, frames[2])
    return msgspec.json.decode(frames[1], type=kind)


def _foreign(what: str) -> ContractError:
    return ContractError(f"a message that is not of protocol {PROTOCOL}: {what}")
