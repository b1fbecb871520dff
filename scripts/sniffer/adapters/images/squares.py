"""From a picture of any size and shape to the square that the model sees, at no more cost than needed."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from sniffer.adapters.images.colours import exponent_of, interpolable
from sniffer.core.model_records import IMAGE_SIDE

_SIZE = (IMAGE_SIDE, IMAGE_SIDE)
_INTERPOLABLE = ("RGB", "L", "CMYK", "YCbCr", "I", "F")
_ENOUGH = 2 * IMAGE_SIDE
"""Blocks are averaged down to no less than this side; with a factor of two left to the bilinear filter, the result
differs from filtering everything by a third of a grey level on average, at half the cost."""
_BAND_PIXELS = 1 << 20

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def square(
    image: Image.Image, size: tuple[float, float], *, orientation: int = 1, gamma: float | None = None
) -> Image.Image:
    """All of a loaded image on 224×224 pixels, turned upright, in a mode for `colours.straight`.

    `size`: where the picture really ends, since a side that was scaled while decoding is rounded up.
    """
    width, height = size
    block = max(1, int(width) // _ENOUGH), max(1, int(height) // _ENOUGH)
    box = (0, 0, width / block[0], height / block[1])
    small = _reduced(image, block, exponent_of(gamma)).resize(_SIZE, Image.Resampling.BILINEAR, box)
    # Resizing treats each axis alone, and all of both goes onto a square: turning the result is turning the source.
    turn = _TRANSPOSE.get(orientation)
    return small if turn is None else small.transpose(turn)


def _reduced(image: Image.Image, block: tuple[int, int], exponent: float | None) -> Image.Image:
    """Each block of pixels averaged to one, in a mode that can be interpolated.

    Where the mode must change, it does so band by band: a large image is never held a second time in full.
    """
    if image.mode in _INTERPOLABLE and not image.has_transparency_data and exponent is None:
        return image if block == (1, 1) else image.reduce(block)
    width, height = image.size
    rows = block[1] * max(1, _BAND_PIXELS // (width * block[1]))
    if rows >= height:
        return interpolable(image, exponent).reduce(block)
    bands = [
        interpolable(image.crop((0, top, width, min(top + rows, height))), exponent).reduce(block)
        for top in range(0, height, rows)
    ]
    return _stacked(bands)


def _stacked(bands: Sequence[Image.Image]) -> Image.Image:
    whole = Image.new(bands[0].mode, (bands[0].width, sum(band.height for band in bands)))
    top = 0
    for band in bands:
        whole.paste(band, (0, top))
        top += band.height
    return whole
