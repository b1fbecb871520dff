"""A server that accepts every connection and never answers."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Self


class BlackHole:
    """A context manager; `port` is where it listens, on the loopback."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._peers: list[socket.socket] = []
        self.is_asked = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for peer in self._peers:
            peer.close()

    def _accept(self) -> None:
        while True:
            try:
                self._peers.append(self._listener.accept()[0])
            except OSError:
                return
            self.is_asked.set()
