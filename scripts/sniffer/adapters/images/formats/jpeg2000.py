"""JPEG 2000 (ITU-T T.800): size, tiles and the number of resolutions."""

from __future__ import annotations

from sniffer.adapters.images.survey import MAX_STEPS, Cost, Malformed, Survey, too_many
from sniffer.core.model_records import IMAGE_SIDE

_SIZE_MARKER = b"\xff\x4f\xff\x51"
_CODING_MARKER = b"\xff\x52"
# Measured, on the safe side.
_SAMPLE_S = 30e-9
_BYTE_S = 100e-9
_TILE_S = 50e-6
_SAMPLE_BYTES = 10


def survey_jpeg2000(data: bytes) -> Survey:
    """Raises Malformed."""
    at = data.find(_SIZE_MARKER, 0, 1 << 20) + 6
    if at < 6 or at + 34 > len(data):
        raise Malformed("it has no codestream")
    right, bottom, left, top, tile_width, tile_height = (
        int.from_bytes(data[place : place + 4], "big") for place in range(at + 2, at + 26, 4)
    )
    width, height, components = right - left, bottom - top, int.from_bytes(data[at + 34 : at + 36], "big")
    if width <= 0 or height <= 0 or not tile_width or not tile_height:
        raise Malformed("it names no size")
    tiles = -(-right // tile_width) * -(-bottom // tile_height)
    if tiles > MAX_STEPS:
        raise too_many("tiles in a JPEG 2000")
    reductions = reductions_of(data, width, height)
    pixels = (width >> reductions) * (height >> reductions)
    samples = (width * height >> 2 * reductions) * components
    cpu_s = samples * _SAMPLE_S + len(data) * _BYTE_S + tiles * _TILE_S
    return Survey("JPEG 2000", data, (width, height), Cost(pixels, cpu_s, samples * _SAMPLE_BYTES))


def reductions_of(data: bytes, width: int, height: int) -> int:
    """How often a decoder can leave out half of each side and still give twice our square: at most as often as the
    coding marker has levels."""
    at = data.find(_CODING_MARKER, 0, 1 << 20)
    levels = data[at + 9] if 0 <= at < len(data) - 9 else 0
    most = min(levels, max(0, (min(width, height) // (2 * IMAGE_SIDE)).bit_length() - 1))
    # Pillow rounds a reduced side to the nearest number, the format rounds it up: they must agree.
    return next(
        count
        for count in range(most, -1, -1)
        if all((side + (1 << count >> 1)) >> count == -(-side >> count) for side in (width, height))
    )
