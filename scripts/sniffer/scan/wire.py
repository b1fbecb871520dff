"""ZeroMQ: the channels between the producer (ROUTER) and its consumers (DEALER). ZeroMQ is touched here only.

Nothing here blocks but the two `wait` methods, and those only as long as they are told.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import zmq
from zmq.auth.thread import ThreadAuthenticator

from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.settings import CurveKeys
from sniffer.scan.channel import ConsumerLost
from sniffer.scan.messages import FromConsumer, FromProducer, ToProducer, Unintelligible, decode, encode

LINGER_MS = 2_000
"""How long a closing socket tries to deliver its last messages."""

HEARTBEAT_MS = 5_000
"""ZeroMQ's own ping, which drops a peer whose machine vanished without closing the connection."""


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
        self._waker = Waker()

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
        self._waker.close()

    def wake(self) -> None:
        """End the current wait, or the next one. Safe from any thread."""
        self._waker.wake()

    def wait(self, timeout_s: float) -> None:
        """Wait until something has arrived or `wake` is called, but at most so long."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._waker.fd, zmq.POLLIN)
        poller.poll(int(max(0.0, timeout_s) * 1000))
        self._waker.clear()

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

    def receive(self) -> Iterator[tuple[bytes, FromConsumer]]:
        """What has arrived, as (consumer, message), without waiting."""
        while True:
            try:
                name, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            yield name, _decoded(frames)

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

    def receive(self) -> Iterator[FromProducer]:
        """What has arrived, without waiting. Raises ContractError for what another release's producer sent."""
        while True:
            try:
                yield decode(self._socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return

    def send(self, message: ToProducer) -> None:
        """Queue for the producer; never blocks."""
        self._socket.send_multipart(encode(message))


class _AllowedKeys:
    """Answers ZeroMQ's authenticator whether a client's public key is one of ours."""

    def __init__(self, allowed: frozenset[str]) -> None:
        self._allowed = allowed

    def callback(self, _domain: str, key: bytes) -> bool:
        """Whether the public key, as Z85 text, may connect."""
        return key.decode() in self._allowed


def _decoded(frames: list[bytes]) -> FromConsumer:
    """The message, or what stands for one that we cannot read: one odd peer must not end a scan."""
    try:
        message: FromConsumer = decode(frames)
    except ContractError as error:
        return Unintelligible(str(error))
    return message


def is_private(endpoint: str) -> bool:
    """Whether only processes of this machine can reach the endpoint."""
    return endpoint.startswith(("ipc://", "inproc://", "tcp://127.", "tcp://localhost:", "tcp://[::1]"))
