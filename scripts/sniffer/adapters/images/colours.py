"""Colours as a screen shows them: palettes, transparency, depths and colour spaces become RGB."""

from __future__ import annotations

import numpy as np
from PIL import Image


def interpolable(image: Image.Image) -> Image.Image:
    """The image with colours, not palette entries, and with transparency as alpha, its colours multiplied by it."""
    if image.mode.startswith("I;16"):
        image = _high_bytes(image)
    if image.mode in ("RGBa", "La"):
        return image
    if image.has_transparency_data:
        return image.convert("RGBA").convert("RGBa")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _high_bytes(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    grey = Image.fromarray((values >> 8).astype(np.uint8))
    if "transparency" not in image.info:
        return grey
    alpha = Image.fromarray(np.where(values == image.info["transparency"], 0, 255).astype(np.uint8))
    return Image.merge("LA", (grey, alpha))


def rgb_on_white(image: Image.Image) -> Image.Image:
    """RGB of what `interpolable` gave, once it is small."""
    if image.mode in ("I", "F"):
        image = _stretched(image)
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode not in ("LA", "RGBa"):
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _stretched(image: Image.Image) -> Image.Image:
    """Grey from values whose format names no black and white: the lowest becomes black, the highest white.

    Floats within [0, 1] are taken at their word, as is the custom; what is no number becomes black.
    """
    values = np.asarray(image).astype(np.float64)
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    if image.mode == "F" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    return Image.fromarray(np.rint((values - low) * (255 / ((high - low) or 1))).astype(np.uint8))
