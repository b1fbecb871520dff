"""Files that try a decoder: no image at all, damaged, oversized, or an image of a kind that few programs handle."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from sniffer_local.samples.backdrops import backdrop
from sniffer_local.samples.food import draw_food
from sniffer_local.samples.surface import Rng, some_light

BOMB_SIDE_PX = 20_000


@dataclass(frozen=True, slots=True)
class HostileKind:
    """A kind of hostile file: its maker, the suffix of its (lying) name, and how decoding must end.

    `code` is that of the UnreadableImage, or None when the file is an image, of food, that must be readable.
    """

    name: str
    suffix: str
    code: str | None
    make: Callable[[Rng], bytes]


def _meal(rng: Rng) -> Image.Image:
    picture = backdrop(rng, (400, 300))
    draw_food(picture, rng, some_light(rng))
    return picture


def _saved(picture: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def _truncated_jpeg(rng: Rng) -> bytes:
    # Viewers show what is there of a picture, so this one ends before the first of its pixels.
    data = _saved(_meal(rng), "JPEG", quality=85)
    return data[: int(data.index(b"\xff\xda") * rng.uniform(0.2, 0.9))]


def _truncated_png(rng: Rng) -> bytes:
    data = _saved(_meal(rng), "PNG", compress_level=1)
    return data[: int(data.index(b"IDAT") * rng.uniform(0.5, 0.9))]


def _empty(_: Rng) -> bytes:
    return b""


def _html(rng: Rng) -> bytes:
    return (
        "<!DOCTYPE html>\n<html><head><title>403 Forbidden</title></head>\n"
        f"<body><h1>403 Forbidden</h1><p>Request {rng.integers(1 << 40):x} was denied.</p></body></html>\n"
    ).encode()


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _bomb(rng: Rng) -> bytes:
    """A 400-megapixel PNG in some 50 kB: deflate takes its blank rows down to a thousandth."""
    side = BOMB_SIDE_PX + int(rng.integers(0, 100))
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    blank_rows = bytes((1 + (side + 7) // 8) * side)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(blank_rows, 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, body) for name, body in chunks)


def _cmyk_jpeg(rng: Rng) -> bytes:
    return _saved(_meal(rng).convert("CMYK"), "JPEG", quality=85)


def _animated_gif(rng: Rng) -> bytes:
    frames = [_meal(rng).resize((200, 150)) for _ in range(3)]
    return _saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=200, loop=0)


def _sixteen_bit_png(rng: Rng) -> bytes:
    grey = np.asarray(_meal(rng).convert("L"), np.uint16)
    return _saved(Image.fromarray(grey * 256 + rng.integers(0, 256, grey.shape, np.uint16)), "PNG", compress_level=1)


HOSTILE_KINDS = (
    HostileKind("truncated-jpeg", ".jpg", "truncated", _truncated_jpeg),
    HostileKind("truncated-png", ".png", "truncated", _truncated_png),
    HostileKind("empty", ".jpg", "empty", _empty),
    HostileKind("html", ".jpg", "not_an_image", _html),
    HostileKind("bomb", ".png", "over_pixel_limit", _bomb),
    HostileKind("cmyk", ".jpg", None, _cmyk_jpeg),
    HostileKind("animated", ".gif", None, _animated_gif),
    HostileKind("16-bit", ".png", None, _sixteen_bit_png),
)
