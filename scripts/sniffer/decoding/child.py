"""The decoder process: encoded images in, pixels out, within limits. Started by a program, never by a person.

Its standard input is a socket to the consumer. It has no credentials in its environment and no other descriptor.
"""

from __future__ import annotations

import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence

from sniffer.adapters.images.preload import preload
from sniffer.adapters.images.render import render
from sniffer.core.errors import UnreadableImage
from sniffer.core.text import one_line
from sniffer.decoding.cage import die_with, lock_up
from sniffer.decoding.frames import (
    Answer,
    AnswerKind,
    RenderedPicture,
    receive_request,
    send_answer,
)

Render = Callable[[bytes], RenderedPicture]


def main(argv: Sequence[str]) -> int:
    """Run the program: PARENT_PID MEMORY_BYTES MAX_PIXELS MAX_BYTES."""
    parent, memory_bytes, max_pixels, max_bytes = map(int, argv)
    preload()
    return serve(
        lambda body: _rendered(body, max_pixels=max_pixels, max_bytes=max_bytes),
        parent=parent,
        memory_bytes=memory_bytes,
    )


def serve(render: Render, *, parent: int, memory_bytes: int) -> int:
    """Answer requests on standard input until the consumer closes it or dies; each within its CPU seconds.

    An image that takes longer ends the process by SIGPROF, wherever its code is: that is the kernel's default for it.
    """
    die_with(parent)
    connection = socket.socket(fileno=0)
    lock_up(memory_bytes=memory_bytes)
    send_answer(connection, Answer(AnswerKind.READY, time.process_time()))
    while request := receive_request(connection):
        body, cpu_s = request
        signal.setitimer(signal.ITIMER_PROF, cpu_s)
        answer, pixels = _answered(render, body)
        signal.setitimer(signal.ITIMER_PROF, 0)
        send_answer(connection, answer, pixels)
    return 0


def _answered(render: Render, body: bytes) -> tuple[Answer, tuple[bytes, ...]]:
    try:
        picture = render(body)
    except UnreadableImage as error:
        return _answer(AnswerKind.UNREADABLE, code=error.code, message=str(error)), ()
    except MemoryError:
        return _answer(AnswerKind.OUT_OF_MEMORY), ()
    except Exception as error:  # noqa: BLE001 - the consumer says what became of the image
        return _answer(AnswerKind.BROKEN, message=f"{type(error).__name__}: {one_line(error, 200)}"), ()
    return _answer(
        AnswerKind.PICTURE, names=picture.names, is_partial=picture.is_partial, size=picture.size
    ), picture.pixels


def _answer(
    kind: AnswerKind,
    *,
    names: tuple[str | None, ...] = (),
    is_partial: bool = False,
    code: str = "",
    message: str = "",
    size: tuple[int, int] = (1, 1),
) -> Answer:
    return Answer(kind, time.process_time(), names, is_partial, code, message, size)


def _rendered(body: bytes, *, max_pixels: int, max_bytes: int) -> RenderedPicture:
    picture = render(body, max_pixels=max_pixels, max_bytes=max_bytes)
    pixels = tuple(rendering.pixels.tobytes() for rendering in picture.renderings)
    return RenderedPicture(
        pixels, tuple(rendering.name for rendering in picture.renderings), picture.partial, picture.size
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
