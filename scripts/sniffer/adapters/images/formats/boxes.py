"""AVIF and HEIF (ISO/IEC 14496-12 and 23008-12): brands, declared sizes and metadata in their boxes."""

from __future__ import annotations

import re

from sniffer.adapters.images.survey import MAX_STEPS, Cost, Malformed, Survey, too_many

_AVIF_BRANDS = (b"avif", b"avis")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_CONTAINERS = {
    b"meta": 4,
    b"iprp": 0,
    b"ipco": 0,
    b"iinf": 6,
    b"moov": 0,
    b"trak": 0,
    b"mdia": 0,
    b"minf": 0,
    b"stbl": 0,
}
"""Boxes that hold boxes, and the bytes before the first of them."""
_META_BYTES = 1 << 20
_METADATA = re.compile(rb"(infe[\x02\x03]...(?:..|....)..)(?:Exif|mime)", re.DOTALL)

# Measured, on the safe side: dav1d; libde265 is the slower one.
_COSTS = {"AVIF": (25e-9, 14), "HEIC": (50e-9, 14)}


def brand_of(data: bytes) -> str | None:
    """AVIF or HEIC, by the major and the compatible brands; None for films and the like."""
    if data[4:8] != b"ftyp":
        return None
    length = int.from_bytes(data[:4], "big")
    brands = [data[at : at + 4] for at in (8, *range(16, min(length, 256, len(data)), 4))]
    if any(brand in _AVIF_BRANDS for brand in brands):
        return "AVIF"
    if any(brand in _HEIF_BRANDS for brand in brands) or data[8:12] in (b"mif1", b"msf1"):
        return "HEIC"
    return None


def survey_boxes(data: bytes, kind: str) -> Survey:
    """The costs follow from the largest size that any item declares; what lies about its size, its decoder refuses.

    Orientation is left to the decoder: in these formats it is a property of the picture, and EXIF does not count.
    Raises Malformed.
    """
    sizes = list[tuple[int, int]]()
    _walk(data, 0, len(data), sizes, [MAX_STEPS])
    if not sizes:
        raise Malformed("it declares no size")
    size = max(sizes, key=lambda size: size[0] * size[1])
    pixels = size[0] * size[1]
    seconds, memory = _COSTS[kind]
    whole = min(_promised(data), 2 * len(data))
    return Survey(
        kind,
        # Decoders go on where zeros stand in for what is missing, but not behind the end.
        _without_metadata(data).ljust(whole, b"\0"),
        size,
        Cost(pixels, pixels * seconds, pixels * memory),
        is_cut=whole > len(data),
    )


def _walk(data: bytes, at: int, end: int, sizes: list[tuple[int, int]], steps: list[int]) -> None:
    while at + 8 <= end:
        steps[0] -= 1
        if steps[0] < 0:
            raise too_many("boxes")
        length, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        start = at + 8
        if length == 1:
            length, start = int.from_bytes(data[start : start + 8], "big"), start + 8
        stop = min(end, at + length) if length else end
        if name in _CONTAINERS:
            _walk(data, start + _CONTAINERS[name], stop, sizes, steps)
        elif name == b"ispe":
            sizes.append(
                (
                    int.from_bytes(data[start + 4 : start + 8], "big"),
                    int.from_bytes(data[start + 8 : start + 12], "big"),
                )
            )
        elif name == b"tkhd":
            # 16.16 fixed point, the last 8 bytes.
            sizes.append(
                (int.from_bytes(data[stop - 8 : stop - 6], "big"), int.from_bytes(data[stop - 4 : stop - 2], "big"))
            )
        if stop <= at + 7:
            return
        at = stop


def _promised(data: bytes) -> int:
    """Where the last box that begins within the file says that it ends."""
    at = 0
    for _ in range(MAX_STEPS):
        length = int.from_bytes(data[at : at + 4], "big")
        if length == 1:
            length = int.from_bytes(data[at + 8 : at + 16], "big")
        if length < 8 or at + length >= len(data):
            return at + length if length >= 8 else len(data)
        at += length
    raise too_many("boxes")


def _without_metadata(data: bytes) -> bytes:
    """The same file whose EXIF and XMP items are of no known kind: libraries would parse them in full."""
    head = _METADATA.sub(rb"\1skip", data[:_META_BYTES])
    return data if head == data[:_META_BYTES] else head + data[_META_BYTES:]
