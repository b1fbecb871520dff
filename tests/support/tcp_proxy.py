"""A TCP proxy before a server: it can switch to another one, freeze what is open, and change what passes."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self


def unchanged(data: bytes) -> bytes:
    return data


class TcpProxy:
    """Forwards each connection to the port that is `target` when it begins; it stays there."""

    def __init__(
        self, target: int, first_answer: Callable[[bytes], bytes] = unchanged, *, host: str = "127.0.0.1"
    ) -> None:
        self.target = target
        self.is_hanging = False
        self.accepted = 0
        self.from_client = 0
        self._first_answer = first_answer
        self._frozen: set[socket.socket] = set()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for end in self._open:
            _shut(end)

    def freeze(self) -> None:
        """From now on nothing passes on the connections that are open, and none is closed."""
        self._frozen.update(self._open)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.accepted += 1
                self._open.append(client)
                if not self.is_hanging:
                    self._forward(client)

    def _forward(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            _shut(client)
            return
        self._open.append(server)
        threading.Thread(target=self._pump, args=(client, server, unchanged), daemon=True).start()
        threading.Thread(target=self._pump, args=(server, client, self._first_answer), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, change: Callable[[bytes], bytes]) -> None:
        from_client = change is unchanged and source.getsockname()[1] == self.port
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if source in self._frozen:
                    return
                if from_client:
                    self.from_client += len(data)
                sink.sendall(change(data))
                change = unchanged
        if source not in self._frozen:
            _shut(sink)


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
