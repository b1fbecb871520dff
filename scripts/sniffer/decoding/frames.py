"""What a consumer and its decoder process say to each other, over one stream socket.

The consumer sends a budget of CPU seconds and an image's encoded bytes; the decoder answers with a JSON header and, for
a picture, the pixels of its renderings behind it. The decoder may have been taken over by a hostile file, so the
consumer believes nothing about an answer but what it has checked.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from sniffer.core.model_records import PIXEL_BYTES
from sniffer.core.text import one_line

_REQUEST = struct.Struct("<dQ")
_LENGTH = struct.Struct("<I")
_TIMEVAL = struct.Struct("@ll")
_LONGEST_HEADER = 1 << 16
_MOST_RENDERINGS = 64
_LONGEST_SIDE = 1 << 31
_CODE = re.compile(r"[a-z0-9_]{1,40}")


@dataclass(frozen=True, slots=True)
class RenderedPicture:
    """The pixels of one image, each rendering as raw 224×224×3 uint8 RGB bytes, with the renderings' names.

    A name is None where there is but one way to show the picture; `is_partial` says that a part of it is missing.
    `size` is the file's width and height, for the proportions that the square has lost.
    """

    pixels: tuple[bytes, ...]
    names: tuple[str | None, ...]
    is_partial: bool = False
    size: tuple[int, int] = (1, 1)


class AnswerKind(StrEnum):
    """What became of a request."""

    READY = "ready"
    """None yet: the decoder has started."""
    PICTURE = "picture"
    UNREADABLE = "unreadable"
    OUT_OF_MEMORY = "out_of_memory"
    BROKEN = "broken"
    """The decoder's own code failed."""


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The header of an answer. `cpu_s` is what the decoder process has used since it started."""

    kind: AnswerKind
    cpu_s: float
    names: tuple[str | None, ...] = ()
    is_partial: bool = False
    code: str = ""
    message: str = ""
    size: tuple[int, int] = (1, 1)


class NotOurs(Exception):
    """The other side says what a decoder of this release would not say."""


def send_request(connection: socket.socket, body: bytes, cpu_s: float) -> None:
    """Ask for the pixels of these bytes, for so many CPU seconds at most."""
    connection.sendall(_REQUEST.pack(cpu_s, len(body)))
    connection.sendall(body)


def receive_request(connection: socket.socket) -> tuple[bytes, float] | None:
    """The next image's bytes and its CPU seconds; None when the consumer has closed the connection."""
    try:
        cpu_s, size = _REQUEST.unpack(_received(connection, _REQUEST.size))
        return _received(connection, size), cpu_s
    except ConnectionResetError:
        return None


def send_answer(connection: socket.socket, answer: Answer, pixels: Sequence[bytes] = ()) -> None:
    """Answer, with the pixels of every name."""
    header = msgspec.json.encode(answer)
    connection.sendall(_LENGTH.pack(len(header)) + header)
    for rendering in pixels:
        connection.sendall(rendering)


def receive_answer(connection: socket.socket) -> tuple[Answer, tuple[bytes, ...]]:
    """The answer and its pixels. Raises NotOurs, ConnectionError when the decoder has gone, and BlockingIOError when it
    says nothing for as long as `limit_silence` allows."""
    size: int = _LENGTH.unpack(_received(connection, _LENGTH.size))[0]
    if size > _LONGEST_HEADER:
        raise NotOurs(f"a header of {size} bytes")
    try:
        answer = msgspec.json.decode(_received(connection, size), type=Answer)
    except msgspec.MsgspecError as error:
        raise NotOurs(one_line(error)) from error
    _check(answer)
    return answer, tuple(_received(connection, PIXEL_BYTES) for _ in answer.names)


def _check(answer: Answer) -> None:
    if bool(answer.names) != (answer.kind is AnswerKind.PICTURE) or len(answer.names) > _MOST_RENDERINGS:
        raise NotOurs(f"{answer.kind} with {len(answer.names)} renderings")
    if not all(1 <= side <= _LONGEST_SIDE for side in answer.size):
        raise NotOurs("a size that no picture has")
    if any(name is not None and name != one_line(name, 64) for name in answer.names):
        raise NotOurs("a rendering's name that is not a short line")
    if answer.kind is AnswerKind.UNREADABLE and not _CODE.fullmatch(answer.code):
        raise NotOurs("a code that is none")


def limit_silence(connection: socket.socket, limit_s: float) -> None:
    """Let the kernel end a wait that takes longer. A Python time-out would make a call of every piece that arrives."""
    whole_s = int(limit_s)
    timeval = _TIMEVAL.pack(whole_s, int((limit_s - whole_s) * 1e6))
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, option, timeval)


def _received(connection: socket.socket, size: int) -> bytes:
    pieces: list[bytes] = []
    while size:
        piece = connection.recv(size, socket.MSG_WAITALL)
        if not piece:
            raise ConnectionResetError("the other side has gone")
        pieces.append(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
