"""A bound on the time of a whole call over sockets, however its parts are shared out.

A client's own time limit is for each piece that comes: a server that sends a byte now and then holds it for ever, in a
TLS handshake, a head or a line of a mail server too.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import Self

_SHORTEST_S = 0.001


class SocketDeadline:
    """Ends the connections that it watches when its time is over: whoever reads from them, or writes, gets an error.

    May be watched and entered by one thread at a time.
    """

    def __init__(self, duration_s: float) -> None:
        self.duration_s = duration_s
        self.is_over = False
        """Whether the time was over before the call was."""
        self._lock = threading.Lock()
        self._watched: list[socket.socket] = []
        self._timer: threading.Timer | None = None
        self._ends_at = 0.0

    def __enter__(self) -> Self:
        self.is_over = False
        self._ends_at = time.monotonic() + self.duration_s
        self._timer = threading.Timer(self.duration_s, self._end)
        self._timer.daemon = True
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
            # Else one that is ending the call now could end the next one.
            self._timer.join()
        with self._lock:
            for sock in self._watched:
                sock.close()
            self._watched.clear()

    def attempt_s(self, host: str, port: int, most_s: float | None) -> float:
        """How long to wait for one address of that host, in seconds: a client tries all of them, one after another.

        At most `most_s`, and so long that all fit into what is left of the call.
        """
        try:
            addresses = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        except OSError:  # which the client finds out, too, and can say
            addresses = []
        left_s = max(_SHORTEST_S, self._ends_at - time.monotonic()) / max(1, len(addresses))
        return left_s if most_s is None else min(most_s, left_s)

    def watch(self, sock: socket.socket) -> None:
        """From now on it ends with the time. Also once TLS has taken it over: what is kept is a handle of its own."""
        own = sock.dup()
        with self._lock:
            self._watched.append(own)
        if self.is_over:
            self._end()

    def _end(self) -> None:
        with self._lock:
            self.is_over = True
            for sock in self._watched:
                with suppress(OSError):  # it has ended by itself
                    sock.shutdown(socket.SHUT_RDWR)
