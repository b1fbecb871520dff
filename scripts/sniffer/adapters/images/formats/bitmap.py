"""BMP, and the icons and cursors of Windows, which hold BMPs or PNGs in several sizes."""

from __future__ import annotations

import dataclasses

from sniffer.adapters.images.formats.png import survey_png
from sniffer.adapters.images.survey import Cost, Malformed, Survey

_PNG = b"\x89PNG\r\n\x1a\n"
_RUN_LENGTHS = (1, 2)
# Measured, on the safe side. Pillow reads run lengths in Python.
_PIXEL_S = 4e-9
_RUN_BYTE_S = 0.6e-6


def survey_bmp(data: bytes) -> Survey:
    """Raises Malformed."""
    size, _, compression = _header(data, 14)
    pixels = size[0] * size[1]
    runs_s = len(data) * _RUN_BYTE_S if compression in _RUN_LENGTHS else 0.0
    return Survey("BMP", data, size, Cost(pixels, pixels * _PIXEL_S + runs_s, 6 * pixels))


def survey_icon(data: bytes, max_pixels: int) -> Survey:
    """The largest of an icon's pictures, which is the one that viewers show. Raises Malformed."""
    best, body = _largest(data)
    if body.startswith(_PNG):
        return dataclasses.replace(survey_png(body, max_pixels), kind="icon")
    size, depth, _ = _header(body, 0)
    size = size[0], size[1] // 2  # the mask lies below the picture
    pixels = size[0] * size[1]
    # A cursor names its hot spot where an icon names its depth.
    entry = (
        best[:4] + b"\1\0" + depth.to_bytes(2, "little") + len(body).to_bytes(4, "little") + (22).to_bytes(4, "little")
    )
    return Survey("icon", b"\0\0\1\0\1\0" + entry + body, size, Cost(pixels, pixels * 4 * _PIXEL_S, 16 * pixels))


def _largest(data: bytes) -> tuple[bytes, bytes]:
    """An icon's directory entry and its picture. A side of 0 means 256 or more."""
    count = int.from_bytes(data[4:6], "little")
    places = range(6, min(6 + 16 * count, len(data) - 15), 16)
    best = max(places, key=lambda at: _rank(data, at), default=None)
    if best is None or _rank(data, best)[1] < 16:
        raise Malformed("it holds no picture")
    start = int.from_bytes(data[best + 12 : best + 16], "little")
    return data[best : best + 16], data[start : start + int.from_bytes(data[best + 8 : best + 12], "little")]


def _rank(data: bytes, at: int) -> tuple[int, int]:
    """Pixels, then bytes; what lies outside of the file is worth nothing."""
    length, start = int.from_bytes(data[at + 8 : at + 12], "little"), int.from_bytes(data[at + 12 : at + 16], "little")
    there = min(length, len(data) - start)
    return ((data[at] or 256) * (data[at + 1] or 256), there) if there >= 16 else (0, 0)


def _header(data: bytes, at: int) -> tuple[tuple[int, int], int, int]:
    """Size, bits per pixel and kind of compression, of the two generations of headers."""

    def number(offset: int, length: int) -> int:
        return int.from_bytes(data[at + offset : at + offset + length], "little")

    if number(0, 4) == 12:
        size, depth, compression = (number(4, 2), number(6, 2)), number(10, 2), 0
    else:
        height = int.from_bytes(data[at + 8 : at + 12], "little", signed=True)
        size, depth, compression = (number(4, 4), abs(height)), number(14, 2), number(16, 4)
    if not (size[0] and size[1]):
        raise Malformed("it names no size")
    return size, depth, compression
