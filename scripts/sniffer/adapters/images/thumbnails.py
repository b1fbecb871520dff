"""Small pictures for people, made of the pixels that a decoder gave: as they are, and so that they show little."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFilter

from sniffer.core.model_records import IMAGE_SIDE

LONGEST_SIDE = 448
"""Twice the model's side: the square is stretched back to the picture's proportions, not shrunk further."""
_SMALLEST_SIDE = 64
_BLUR_RADIUS = 14
_QUALITY = 80
_HASH_SIDE = 32
_HASH_FREQUENCIES = 8


def thumbnail(pixels: bytes, size: tuple[int, int], *, is_covered: bool) -> bytes:
    """A JPEG of a rendering's 224×224×3 RGB bytes in the proportions of `size`; covered: blurred, and in greys.

    The bytes come from nobody but our decoder, and hold nothing of the file but its pixels.
    """
    image = Image.frombytes("RGB", (IMAGE_SIDE, IMAGE_SIDE), pixels).resize(_fitting(size), Image.Resampling.BICUBIC)
    if is_covered:
        image = image.convert("L").filter(ImageFilter.GaussianBlur(_BLUR_RADIUS))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


def perceptual_hash(pixels: bytes) -> bytes:
    """64 bits that differ little between pictures that look alike: signs of the low frequencies of the brightness.

    The discrete cosine transform of 32×32 greys, its 8×8 lowest frequencies against their median (Zauner,
    "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010).
    """
    grey = Image.frombytes("RGB", (IMAGE_SIDE, IMAGE_SIDE), pixels).convert("L")
    small = np.asarray(grey.resize((_HASH_SIDE, _HASH_SIDE), Image.Resampling.LANCZOS), np.float64)
    steps = np.arange(_HASH_SIDE)
    waves = np.cos(np.pi * (2 * steps[None, :] + 1) * np.arange(_HASH_FREQUENCIES)[:, None] / (2 * _HASH_SIDE))
    low = (waves @ small @ waves.T).ravel()
    # The mean brightness, the first of them, would be above any median.
    bits = low > np.median(low[1:])
    return np.packbits(bits).tobytes()


def _fitting(size: tuple[int, int]) -> tuple[int, int]:
    scale = LONGEST_SIDE / max(size)
    width, height = (max(_SMALLEST_SIDE, round(side * scale)) for side in size)
    return width, height
