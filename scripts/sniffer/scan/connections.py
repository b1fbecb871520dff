"""Closes connections that make the producer keep more than its peers ever need to send.

ZeroMQ bounds a frame's size and a connection's whole messages, but not the frames of one message: it keeps all of them
until the last one comes. The kernel knows how much came over each connection, so who goes too far is cut off there.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
import stat
import struct
import termios
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sniffer.scan.messages import MAX_HEADER_BYTES
from sniffer.scan.peers import PeerLog, shown

log = logging.getLogger(__name__)

LOOK_S = 0.1
"""Between two looks at the connections, unless a look takes long: no more than a 20th of a core is for them."""
_SHARE_OF_A_CORE = 20
MOST_OF_ALL_BYTES = 256 << 20
"""What all connections together may make us keep: then the worst of them are closed."""

_DESCRIPTORS = Path("/proc/self/fd")
_RECEIVED = struct.Struct("=Q")
_RECEIVED_AT = 128
"""Where struct tcp_info of tcp(7) has tcpi_bytes_received, since Linux 4.1."""
_LONGEST_INFO = 256
_ABORT = struct.pack("=ii", 1, 0)
_PARTS_OF_A_FRAME = 1 << 10
"""More than a frame's header, its encryption, and a message's kind take."""


def most_unread_bytes(messages: int) -> int:
    """What an honest peer's connection holds at most when so many of its messages wait, and one is on its way."""
    return (messages + 1) * (MAX_HEADER_BYTES + _PARTS_OF_A_FRAME)


@dataclass(slots=True)
class _Connection:
    """What is known of one: its socket's number, which no other has, and how far it was when we last read from it."""

    inode: int
    messages: int = 0
    received: int = 0
    mark: int = 0

    @property
    def unread_bytes(self) -> int:
        return self.received - self.mark


class ConnectionGuard:
    """Watches the TCP connections to one port of this process, in a thread of its own, from `start` to `stop`.

    `most_bytes`: what may come over one connection without a whole message that we read. Where the kernel does not
    tell (another system than Linux), nothing is watched.
    """

    def __init__(self, port: int, most_bytes: int) -> None:
        self._port = port
        self._most_bytes = most_bytes
        self._messages: dict[int, int] = {}
        self._connections: dict[int, _Connection] = {}
        self._peers = PeerLog(log, time.monotonic)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="connections", daemon=True)

    def start(self) -> None:
        """Watch from now on."""
        if _DESCRIPTORS.is_dir():
            self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()

    def count(self, descriptor: int) -> None:
        """A whole message was read, which came over the connection of that file descriptor."""
        self._messages[descriptor] = self._messages.get(descriptor, 0) + 1

    def _run(self) -> None:
        pause_s = LOOK_S
        while not self._ended.wait(pause_s):
            began_at = time.monotonic()
            self._look()
            pause_s = max(LOOK_S, _SHARE_OF_A_CORE * (time.monotonic() - began_at))

    def _look(self) -> None:
        found = dict(self._found())
        self._connections = found
        total_bytes = sum(connection.unread_bytes for connection in found.values())
        for descriptor in sorted(found, key=lambda number: found[number].unread_bytes, reverse=True):
            connection = found[descriptor]
            if connection.unread_bytes <= self._most_bytes and total_bytes <= MOST_OF_ALL_BYTES:
                return
            total_bytes -= connection.unread_bytes
            self._close(descriptor, connection)

    def _found(self) -> Iterator[tuple[int, _Connection]]:
        """Each connection as it is now."""
        for name in os.listdir(_DESCRIPTORS):
            descriptor = int(name)
            with _copy_of(descriptor) as peer:
                if peer is None:
                    continue
                inode = os.fstat(peer.fileno()).st_ino
                connection = self._connections.get(descriptor)
                if connection is None or connection.inode != inode:
                    if not _leads_to(peer, self._port):
                        continue
                    connection = _Connection(inode)
                _update(connection, peer, self._messages.get(descriptor, 0))
                yield descriptor, connection

    def _close(self, descriptor: int, connection: _Connection) -> None:
        """Shut it down, which ZeroMQ sees as the peer's leaving, and forget what came of its last message."""
        with _copy_of(descriptor) as peer, contextlib.suppress(OSError):
            if peer is None or os.fstat(peer.fileno()).st_ino != connection.inode:
                return  # it has gone by itself
            host = str(peer.getpeername()[0])
            # ZeroMQ then closes it, and the peer hears of it at once, whatever it has still to send.
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            peer.shutdown(socket.SHUT_RDWR)
            self._peers.say(
                logging.WARNING,
                "a connection of %s is closed: %d bytes came over it, and no message that could be read",
                shown(host.encode()),
                connection.unread_bytes,
            )
            connection.mark = connection.received


@contextlib.contextmanager
def _copy_of(descriptor: int) -> Iterator[socket.socket | None]:
    """The TCP socket of that number, under a number of its own: the first may be another's at any moment."""
    try:
        # Of a file there must be no copy: closing it would take the file's locks away.
        peer = socket.socket(fileno=os.dup(descriptor)) if stat.S_ISSOCK(os.fstat(descriptor).st_mode) else None
    except OSError:
        peer = None
    if peer is None:
        yield None
        return
    with peer:
        is_tcp = peer.family in (socket.AF_INET, socket.AF_INET6) and peer.type == socket.SOCK_STREAM
        yield peer if is_tcp else None


def _leads_to(peer: socket.socket, port: int) -> bool:
    try:
        return bool(peer.getsockname()[1] == port and peer.getpeername())
    except OSError:
        return False  # the one that listens


def _update(connection: _Connection, peer: socket.socket, messages: int) -> None:
    """What ZeroMQ has taken from the kernel by now; a whole message since the last look begins a new count."""
    with contextlib.suppress(OSError, struct.error):
        told = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LONGEST_INFO)
        waiting = fcntl.ioctl(peer, termios.FIONREAD, b"\0" * 4)
        connection.received = _RECEIVED.unpack_from(told, _RECEIVED_AT)[0] - struct.unpack("=i", waiting)[0]
    if messages != connection.messages:
        connection.messages, connection.mark = messages, connection.received
