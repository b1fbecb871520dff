"""ZeroMQ: the messages between the producer (ROUTER) and its consumers (DEALER). ZeroMQ is touched here only.

A message is a kind, a JSON header and, for work, the image's raw bytes as a frame of their own. Every message that
names images carries the producer's session, so that a consumer that outlives its producer cannot acknowledge to the
next one. Nothing here blocks but the two `receive` methods, and those only as long as they are told.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import zmq
from zmq.auth.thread import ThreadAuthenticator

from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.records import ListedObject, Outcome, Unscored
from sniffer.core.settings import CurveKeys

PROTOCOL = 1
"""Raised with every change of a message, so that an old consumer is refused rather than misunderstood."""

LINGER_MS = 2_000
"""How long a closing socket tries to deliver its last messages."""

HEARTBEAT_MS = 5_000
"""ZeroMQ's own ping, which drops a peer whose machine vanished without closing the connection."""


class ConsumerLost(ConnectionError):
    """The consumer this was sent to is not connected any more: bury it and give its images to others."""


@dataclass(frozen=True, slots=True)
class Hello:
    """From a consumer, first and after every `Reregister`: it would like `credit` images."""

    protocol: int
    name: str
    credit: int


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


FromConsumer = Hello | Done | HandBack | Leave | Heartbeat
FromProducer = Reregister | Welcome | Work | ScanFinished | Refused | Heartbeat

_KINDS: dict[bytes, type[Any]] = {
    kind.__name__.encode(): kind
    for kind in (Hello, Done, HandBack, Leave, Heartbeat, Reregister, Welcome, Work, ScanFinished, Refused)
}


def encode(message: FromConsumer | FromProducer) -> list[bytes]:
    """The frames of a message."""
    header = {field.name: getattr(message, field.name) for field in dataclasses.fields(message)}
    body = [header.pop("body")] if isinstance(message, Work) else []
    return [type(message).__name__.encode(), json.dumps(header, default=_jsonable).encode(), *body]


def decode(frames: Sequence[bytes]) -> Any:
    """The message of these frames; raises ContractError when they are not one of ours."""
    try:
        kind = _KINDS[frames[0]]
        header = json.loads(frames[1])
        if kind is Done:
            header["outcomes"] = tuple((number, Outcome(outcome)) for number, outcome in header["outcomes"])
        elif kind is HandBack:
            header["numbers"] = tuple(header["numbers"])
        elif kind is Heartbeat:
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


class Waker:
    """Lets another thread end a socket's wait: its work has something to say."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def wake(self) -> None:
        """End the current wait, or the next one. Safe from any thread."""
        os.eventfd_write(self.fd, 1)

    def clear(self) -> None:
        """Forget the wakes so far."""
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return  # nobody woke us

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)


class _Socket:
    """What both ends share: the context, the options, opening late and closing surely."""

    def __init__(self, endpoint: str, keys: CurveKeys | None) -> None:
        if not (is_private(endpoint) or keys):
            raise SettingsError(
                f"{endpoint} can be reached over the network, so the sockets must use CURVE: set "
                "SNIFFER_CURVE_PUBLIC_FILE, SNIFFER_CURVE_SECRET_FILE and SNIFFER_CURVE_SERVER_FILE"
            )
        self.endpoint = endpoint
        self._keys = keys
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes]
        self.waker = Waker()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Bind or connect."""
        raise NotImplementedError

    def close(self) -> None:
        """Deliver what can be delivered within LINGER_MS, then close."""
        self._context.destroy(linger=LINGER_MS)
        self.waker.close()

    def _wait(self, timeout_s: float) -> None:
        """Until something arrives or the waker is used, but at most so long."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self.waker.fd, zmq.POLLIN)
        poller.poll(int(max(0.0, timeout_s) * 1000))
        self.waker.clear()

    def _make(self, kind: int) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        # No high-water mark: credits bound what is under way, and a full queue would drop or block.
        socket.sndhwm = socket.rcvhwm = 0
        socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        if self._keys:
            socket.curve_publickey = self._keys.public.encode()
            socket.curve_secretkey = self._keys.secret.encode()
        return socket


class ProducerSocket(_Socket):
    """The producer's end: binds, speaks to each consumer by its identity.

    `allowed`: the consumers' public keys (Z85) when CURVE is used; any other key gets no answer at all.
    """

    def __init__(self, endpoint: str, keys: CurveKeys | None = None, allowed: frozenset[str] = frozenset()) -> None:
        super().__init__(endpoint, keys)
        if keys and not allowed:
            raise SettingsError("CURVE needs the consumers' public keys: set SNIFFER_CURVE_CLIENTS_FILE")
        self._allowed = allowed
        self._authenticator: ThreadAuthenticator | None = None

    def open(self) -> None:
        """Bind; afterwards `endpoint` names the port that was chosen for `*`. Raises SettingsError."""
        if self._keys:
            self._authenticator = ThreadAuthenticator(self._context)
            self._authenticator.start()
            self._authenticator.configure_curve_callback(credentials_provider=_AllowedKeys(self._allowed))
        self._socket = self._make(zmq.ROUTER)
        self._socket.router_mandatory = True
        self._socket.router_handover = True
        if self._keys:
            self._socket.curve_server = True
        try:
            self._socket.bind(self.endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise SettingsError(f"cannot listen on {self.endpoint}: {error.strerror}") from error
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def close(self) -> None:
        """Stop listening and give everything back."""
        if self._authenticator is not None:
            self._authenticator.stop()
        super().close()

    def receive(self, timeout_s: float) -> Iterator[tuple[bytes, FromConsumer]]:
        """What has arrived, as (consumer, message), after waiting at most `timeout_s`, or for the waker."""
        self._wait(timeout_s)
        while True:
            try:
                name, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            yield name, decode(frames)

    def send(self, name: bytes, message: FromProducer) -> None:
        """Send without waiting; raises ConsumerLost when that consumer is not connected."""
        try:
            self._socket.send_multipart([name, *encode(message)], zmq.NOBLOCK, copy=False)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise
            raise ConsumerLost(str(error)) from error


class ConsumerSocket(_Socket):
    """A consumer's end: connects, and reconnects by itself whenever the producer comes back."""

    def __init__(self, endpoint: str, identity: bytes, keys: CurveKeys | None = None) -> None:
        super().__init__(endpoint, keys)
        self._identity = identity

    def open(self) -> None:
        """Connect, whether the producer is there yet or not. Raises SettingsError for an endpoint that cannot be."""
        self._socket = self._make(zmq.DEALER)
        self._socket.identity = self._identity
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 2_000)
        if self._keys:
            self._socket.curve_serverkey = self._keys.server.encode()
        try:
            self._socket.connect(self.endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise SettingsError(f"cannot connect to {self.endpoint}: {error.strerror}") from error

    def receive(self, timeout_s: float) -> Iterator[FromProducer]:
        """What has arrived, after waiting at most `timeout_s` for the first, or for the waker."""
        self._wait(timeout_s)
        while True:
            try:
                yield decode(self._socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return

    def send(self, message: FromConsumer) -> None:
        """Queue for the producer; never blocks."""
        self._socket.send_multipart(encode(message))


class _AllowedKeys:
    """Answers ZeroMQ's authenticator whether a client's public key is one of ours."""

    def __init__(self, allowed: frozenset[str]) -> None:
        self._allowed = allowed

    def callback(self, _domain: str, key: bytes) -> bool:
        """Whether the public key, as Z85 text, may connect."""
        return key.decode() in self._allowed


def is_private(endpoint: str) -> bool:
    """Whether only processes of this machine can reach the endpoint."""
    return endpoint.startswith(("ipc://", "inproc://", "tcp://127.", "tcp://localhost:", "tcp://[::1]"))
