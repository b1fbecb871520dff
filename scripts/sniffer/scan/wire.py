"""ZeroMQ: the channels between the producer (ROUTER) and its consumers (DEALER). ZeroMQ is touched here only.

Nothing here blocks but the two `wait` methods, and those only as long as they are told. What a peer can make us keep is
bounded by ZeroMQ itself, before anybody is asked for a key: the size of a frame, the messages of one connection. The
frames of one message are not; whoever sends them without an end is cut off.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

import zmq
from zmq.auth.thread import ThreadAuthenticator

from sniffer.core.errors import SettingsError
from sniffer.core.settings import CurveKeys
from sniffer.core.variables import MAX_IMAGE_BYTES
from sniffer.scan.channel import ConsumerLost
from sniffer.scan.connections import ConnectionGuard, most_unread_bytes
from sniffer.scan.endpoint import check_folder, parse_endpoint
from sniffer.scan.messages import (
    MAX_HEADER_BYTES,
    MAX_HELD,
    FromConsumer,
    FromProducer,
    ToProducer,
    Unintelligible,
    encode,
    from_consumer,
    from_producer,
)

LINGER_MS = 2_000
"""How long a closing socket tries to deliver its last messages."""

HEARTBEAT_MS = 5_000
"""ZeroMQ's own ping, which drops a peer whose machine vanished without closing the connection."""

HANDSHAKE_MS = 10_000
"""A connection that has not said who it is by then is closed."""

CONNECT_MS = 5_000
"""An address that has not answered by then is given up; the next attempt looks the producer's name up again. The
system would go on for two minutes, while the producer may have gone to another host."""

UNREAD_MESSAGES = 32
"""Messages of one connection that wait to be read; then the sender's own queue holds the rest."""

UNSENT_MESSAGES = 2 * MAX_HELD
"""Messages that wait for one consumer; one that reads no more is taken for lost."""

AT_ONCE = 1000
"""Messages that are read before the loop does something else, so that a peer which never stops cannot hold it up."""

MAX_FRAMES = 4
"""More frames than any message has: what follows is thrown away as it is read."""


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
        self._place = parse_endpoint(endpoint)
        if not (self._place.is_private or keys):
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

    def _make(self, kind: int, max_frame_bytes: int) -> zmq.Socket[bytes]:
        if self._place.path:
            check_folder(self._place)
        socket = self._context.socket(kind)
        socket.rcvhwm = UNREAD_MESSAGES
        socket.setsockopt(zmq.IPV6, self._place.wants_ipv6)
        socket.setsockopt(zmq.MAXMSGSIZE, max_frame_bytes)
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
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
        self._guard: ConnectionGuard | None = None

    def open(self) -> None:
        """Bind; afterwards `endpoint` names the port that was chosen for `*`. Raises SettingsError."""
        if self._keys:
            self._authenticator = ThreadAuthenticator(self._context)
            self._authenticator.start()
            self._authenticator.configure_curve_callback(credentials_provider=_AllowedKeys(self._allowed))
        self._socket = self._make(zmq.ROUTER, MAX_HEADER_BYTES)
        self._socket.sndhwm = UNSENT_MESSAGES
        self._socket.router_mandatory = True
        self._socket.router_handover = True
        if self._keys:
            self._socket.curve_server = True
        # The file of an ipc socket gets the mode that lets nobody else in, from its first moment on.
        umask = os.umask(0o077)
        try:
            self._socket.bind(self.endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise SettingsError(f"cannot listen on {self.endpoint}: {error.strerror}") from error
        finally:
            os.umask(umask)
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        if not self._place.path:
            port = int(self.endpoint.rpartition(":")[2])
            self._guard = ConnectionGuard(port, most_unread_bytes(UNREAD_MESSAGES))
            self._guard.start()

    def close(self) -> None:
        """Stop listening and give everything back."""
        if self._guard is not None:
            self._guard.stop()
        if self._authenticator is not None:
            self._authenticator.stop()
        super().close()

    def receive(self) -> Iterator[tuple[bytes, FromConsumer]]:
        """What has arrived, as (consumer, message), without waiting; at most AT_ONCE, the rest is there next time."""
        for _ in range(AT_ONCE):
            try:
                name, *frames = self._receive_frames()
            except zmq.Again:
                return
            if frames and self._keys and not name.bytes.endswith(mark_of(str(frames[-1].get("User-Id")))):
                # Under CURVE a name belongs to a key: nobody speaks for a consumer that has another one.
                yield b"?" + name.bytes, Unintelligible("its name is not one of its CURVE key")
            else:
                yield name.bytes, from_consumer([frame.bytes for frame in frames])

    def _receive_frames(self) -> list[zmq.Frame]:
        """One message, without waiting; of one with too many frames only the first ones are kept."""
        frames = [self._socket.recv(zmq.NOBLOCK, copy=False)]
        while frames[-1].more:
            frame = self._socket.recv(zmq.NOBLOCK, copy=False)
            if len(frames) <= MAX_FRAMES:
                frames.append(frame)
            else:
                frames[-1] = frame
        if self._guard is not None:
            # ZeroMQ does not know the connection of every message: not of those of an anonymous peer.
            with suppress(zmq.ZMQError):
                self._guard.count(frames[-1].get(zmq.SRCFD))
        return frames

    def send(self, name: bytes, message: FromProducer) -> None:
        """Send without waiting; raises ConsumerLost when that consumer is not connected."""
        try:
            self._socket.send_multipart([name, *encode(message)], zmq.NOBLOCK, copy=False)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise
            raise ConsumerLost(str(error)) from error


class ConsumerSocket(_Socket):
    """A consumer's end: connects, and reconnects by itself whenever the producer comes back.

    An image of more than `max_image_bytes` is not received: the connection breaks.
    """

    def __init__(
        self,
        endpoint: str,
        identity: bytes,
        keys: CurveKeys | None = None,
        *,
        max_image_bytes: int = MAX_IMAGE_BYTES.default,
    ) -> None:
        super().__init__(endpoint, keys)
        self._identity = identity + (mark_of(keys.public) if keys else b"")
        self._max_frame_bytes = max(max_image_bytes, MAX_HEADER_BYTES)

    def open(self) -> None:
        """Connect, whether the producer is there yet or not. Raises SettingsError for an endpoint that cannot be."""
        self._socket = self._make(zmq.DEALER, self._max_frame_bytes)
        # Never full: what a consumer says while its producer is away is little, and must not be lost.
        self._socket.sndhwm = 0
        self._socket.identity = self._identity
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 2_000)
        self._socket.setsockopt(zmq.CONNECT_TIMEOUT, CONNECT_MS)
        if self._keys:
            self._socket.curve_serverkey = self._keys.server.encode()
        try:
            self._socket.connect(self.endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise SettingsError(f"cannot connect to {self.endpoint}: {error.strerror}") from error

    def receive(self) -> Iterator[FromProducer]:
        """What has arrived, without waiting. Raises ContractError for what another release's producer sent."""
        for _ in range(AT_ONCE):
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            yield from_producer(frames)

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


def mark_of(key: str) -> bytes:
    """What a consumer's name ends with under CURVE, by its public key."""
    return b"~" + hashlib.sha256(key.encode()).hexdigest()[:16].encode()
