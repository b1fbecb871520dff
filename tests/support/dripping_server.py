"""A server on the loopback that says something, and then a little more now and then, for ever: to every client."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import Self

PAUSE_S = 0.02


class DrippingServer:
    """Sends `first`, and `then` again and again, without reading what it is sent."""

    def __init__(self, first: bytes, then: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._first, self._then = first, then
        self._is_open = True
        self.port = int(self._listener.getsockname()[1])
        self.left = threading.Event()
        """Set when a client has gone."""

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_open = False
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._drip, args=(client,), daemon=True).start()

    def _drip(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            client.sendall(self._first)
            while self._is_open:
                client.sendall(self._then)
                time.sleep(PAUSE_S)
        self.left.set()
