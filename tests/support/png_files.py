"""PNG files built chunk by chunk, sound ones and others."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(name: bytes, body: bytes = b"", *, is_sound: bool = True) -> bytes:
    checksum = zlib.crc32(name + body) ^ (0 if is_sound else 1)
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


def header(width: int, height: int, bit_depth: int = 8, colour_type: int = 2, interlaced: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, interlaced))


def rows_of(image: Image.Image) -> bytes:
    """The compressed rows of an image in RGB, RGBA or L, unfiltered."""
    stride = image.width * len(image.getbands())
    raw = image.tobytes()
    return zlib.compress(b"".join(b"\0" + raw[at : at + stride] for at in range(0, len(raw), stride)))


def png(image: Image.Image, before: Sequence[bytes] = (), after: Sequence[bytes] = ()) -> bytes:
    """An image as PNG, with these chunks before and behind its data."""
    colour_type = {"L": 0, "RGB": 2, "RGBA": 6}[image.mode]
    parts = [SIGNATURE, header(*image.size, colour_type=colour_type), *before]
    return b"".join([*parts, chunk(b"IDAT", rows_of(image)), *after, chunk(b"IEND")])


def apng(default: Image.Image, frames: Sequence[Image.Image], *, default_is_shown: bool) -> bytes:
    """An animation. The default image is its first frame, or shown only by what cannot play it."""
    sequence = iter(range(1000))
    count = len(frames) + default_is_shown
    parts = [SIGNATURE, header(*default.size), chunk(b"acTL", struct.pack(">II", count, 0))]
    if default_is_shown:
        parts.append(_control(next(sequence), default))
    parts.append(chunk(b"IDAT", rows_of(default)))
    for frame in frames:
        parts.append(_control(next(sequence), frame))
        parts.append(chunk(b"fdAT", struct.pack(">I", next(sequence)) + rows_of(frame)))
    return b"".join([*parts, chunk(b"IEND")])


def _control(number: int, frame: Image.Image) -> bytes:
    return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, *frame.size, 0, 0, 1, 10, 0, 0))
