"""The real decoder process, but with bytes that make it do what a hostile file might: see ORDERS."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sniffer.adapters.images import render as images
from sniffer.core.errors import UnreadableImage
from sniffer.decoding import child
from sniffer.decoding.frames import RenderedPicture


def _spin() -> None:
    while True:
        pass


def _hog() -> None:
    kept = []
    while True:
        kept.append(bytes(1 << 24))


def _babble() -> None:
    os.write(0, b"\xff" * 64)
    time.sleep(60)


def _report(reach: Callable[[], object]) -> None:
    try:
        found = str(reach())
    except OSError as error:
        found = str(error)
    raise UnreadableImage("report", found)


ORDERS: dict[bytes, Callable[[], object]] = {
    b"ABORT": os.abort,
    b"SPIN": _spin,
    b"HOG": _hog,
    b"BABBLE": _babble,
    b"SLEEP": lambda: time.sleep(3600),
    b"CONNECT": lambda: _report(socket.socket),
    b"ENVIRONMENT": lambda: _report(lambda: " ".join(sorted(os.environ))),
    b"STEAL": lambda: _report(lambda: Path("/etc/hostname").read_text()),
    b"IMPORT": lambda: __import__("sqlite3"),
    b"LEAVE": lambda: os._exit(0),
}


def render(body: bytes) -> RenderedPicture:
    """The picture, unless the bytes are an order."""
    if order := ORDERS.get(bytes(body)):
        order()
    picture = images.render(body)
    return RenderedPicture(tuple(r.pixels.tobytes() for r in picture.renderings), (None,) * len(picture.renderings))


if __name__ == "__main__":
    parent, memory_bytes, _, _ = map(int, sys.argv[1:])
    sys.exit(child.serve(render, parent=parent, memory_bytes=memory_bytes))
