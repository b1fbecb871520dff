"""A port on the loopback that answers no connection, as behind a firewall that drops what comes."""

from __future__ import annotations

import socket
from typing import Self


class FullServer:
    """Listens, and its queue of connections is full."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.port = int(self._listener.getsockname()[1])
        self._waiting: list[socket.socket] = []

    def __enter__(self) -> Self:
        while True:
            client = socket.socket()
            self._waiting.append(client)
            client.settimeout(0.05)
            try:
                client.connect(("127.0.0.1", self.port))
            except TimeoutError:
                return self

    def __exit__(self, *_: object) -> None:
        for each in (*self._waiting, self._listener):
            each.close()
