"""The messages between the producer and its consumers, and their frames.

A message is a kind, a JSON header and, for work, the image's raw bytes as a frame of their own. Every message that
names images carries the producer's session, so that a consumer that outlives its producer cannot acknowledge to the
next one. `Hello` (with `protocol` and `name`) and `Refused` stay as they are in every protocol: two releases that do
not understand each other must be able to say so.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sniffer.core.errors import ContractError
from sniffer.core.records import ListedObject, Outcome, Unscored

PROTOCOL = 2
"""Raised with every change of a message, so that an old consumer is refused rather than misunderstood."""


@dataclass(frozen=True, slots=True)
class Hello:
    """From a consumer, first and after every `Reregister`: it would like `credit` images beside those it holds."""

    protocol: int
    name: str
    credit: int
    session: str = ""
    holds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """From a consumer: the rows of these images are committed, and it would like `credit` more."""

    session: str
    outcomes: tuple[tuple[int, Outcome], ...]
    credit: int


@dataclass(frozen=True, slots=True)
class HandBack:
    """From a consumer: these images were not touched; give them to others."""

    session: str
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Leave:
    """From a consumer: it ends, in good order if `error` is empty; an error that stops the scan is `fatal`."""

    error: str = ""
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """From either side, at an interval: it is alive; a consumer also says which images it holds."""

    session: str = ""
    holds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Unintelligible:
    """Stands for frames from a consumer that are no message of this protocol; never sent."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reregister:
    """From the producer to a consumer it does not know: say hello (again)."""


@dataclass(frozen=True, slots=True)
class Welcome:
    """From the producer: what this scan is. Everything a consumer needs beside its own settings."""

    session: str
    scan_id: str
    model_version: int
    rescan: bool


@dataclass(frozen=True, slots=True)
class Work:
    """From the producer: one image with its bytes, or with the verdict to record instead of decoding."""

    session: str
    number: int
    image: ListedObject
    verdict: Unscored | None
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class ScanFinished:
    """From the producer: every image has its outcome."""


@dataclass(frozen=True, slots=True)
class Refused:
    """From the producer: go away, for this reason."""

    reason: str


ToProducer = Hello | Done | HandBack | Leave | Heartbeat
FromConsumer = ToProducer | Unintelligible
FromProducer = Reregister | Welcome | Work | ScanFinished | Refused | Heartbeat

_KINDS: dict[bytes, type[Any]] = {
    kind.__name__.encode(): kind
    for kind in (Hello, Done, HandBack, Leave, Heartbeat, Reregister, Welcome, Work, ScanFinished, Refused)
}


def encode(message: ToProducer | FromProducer) -> list[bytes]:
    """The frames of a message."""
    header = {field.name: getattr(message, field.name) for field in dataclasses.fields(message)}
    body = [header.pop("body")] if isinstance(message, Work) else []
    return [type(message).__name__.encode(), json.dumps(header, default=_jsonable).encode(), *body]


def decode(frames: Sequence[bytes]) -> Any:
    """The message of these frames; raises ContractError when they are not one of ours."""
    try:
        kind = _KINDS[frames[0]]
        header = json.loads(frames[1])
        if kind is Hello and header["protocol"] != PROTOCOL:
            return Hello(int(header["protocol"]), str(header["name"]), credit=0)
        if kind is Done:
            header["outcomes"] = tuple((number, Outcome(outcome)) for number, outcome in header["outcomes"])
        elif kind is HandBack:
            header["numbers"] = tuple(header["numbers"])
        elif kind in (Hello, Heartbeat):
            header["holds"] = tuple(header["holds"])
        elif kind is Work:
            header |= {"image": _image(header["image"]), "verdict": _verdict(header["verdict"]), "body": frames[2]}
        return kind(**header)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ContractError(f"a message that is not of protocol {PROTOCOL}: {error!r}") from error


def _jsonable(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return [getattr(value, field.name) for field in dataclasses.fields(value)]


def _image(fields: list[Any]) -> ListedObject:
    bucket, key, etag, size_bytes, last_modified = fields
    return ListedObject(bucket, key, etag, size_bytes, datetime.fromisoformat(last_modified))


def _verdict(fields: list[Any] | None) -> Unscored | None:
    return None if fields is None else Unscored(Outcome(fields[0]), *fields[1:])
