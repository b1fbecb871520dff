"""Colours as a screen shows them: palettes, transparency, depths, gamma, profiles and colour spaces become RGB."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_SCREEN_GAMMA = 2.2
_GAMMA_TOLERANCE = 0.05
"""What libpng, and so every browser, takes for no difference."""
_PROFILE_MODES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
_SAME_COLOUR = 3
"""Grey levels; what a profile changes by less is not worth a transformation."""
_CACHED_PROFILES = 32


def exponent_of(gamma: float | None) -> float | None:
    """What values between 0 and 1 must be raised to on a screen, if a file says with which gamma they were stored."""
    if gamma is None or abs(gamma * _SCREEN_GAMMA - 1) < _GAMMA_TOLERANCE:
        return None
    return 1 / (gamma * _SCREEN_GAMMA)


def interpolable(image: Image.Image, exponent: float | None = None) -> Image.Image:
    """The image with colours, not palette entries, and with transparency as alpha, its colours multiplied by it."""
    if image.mode.startswith("I;16"):
        image = _high_bytes(image, exponent)
        exponent = None
    if image.mode in ("RGBa", "La"):
        return image
    if image.has_transparency_data:
        return _raised(image.convert("RGBA"), exponent).convert("RGBa")
    return _raised(image.convert("L" if image.mode in ("1", "L") else "RGB"), exponent)


def _high_bytes(image: Image.Image, exponent: float | None) -> Image.Image:
    values = np.asarray(image)
    shown = values if exponent is None else np.rint(65535 * (values / 65535) ** exponent).astype(np.uint16)
    grey = Image.fromarray((shown >> 8).astype(np.uint8))
    if "transparency" not in image.info:
        return grey
    alpha = Image.fromarray(np.where(values == image.info["transparency"], 0, 255).astype(np.uint8))
    return Image.merge("LA", (grey, alpha))


def _raised(image: Image.Image, exponent: float | None) -> Image.Image:
    if exponent is None:
        return image
    curve = [round(255 * (value / 255) ** exponent) for value in range(256)]
    bands = len(image.getbands())
    return image.point(curve if bands == 1 else curve * 3 + (list(range(256)) if bands == 4 else []))


def straight(small: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB or RGBA for a screen, of a small image in any mode that `interpolable` gives or leaves alone."""
    if small.mode in ("I", "F"):
        small = _stretched(small)
    elif small.mode in ("La", "RGBa"):
        small = small.convert(small.mode.upper())
        if small.getextrema()[-1] == (255, 255):
            small = small.convert(small.mode.removesuffix("A"))
    transform = _transform(profile, small.mode.removesuffix("A")) if profile else None
    if small.mode in ("LA", "RGBA"):
        colours = small.convert(small.mode.removesuffix("A"))
        shown = colours.convert("RGB") if transform is None else transform.apply(colours)
        shown.putalpha(small.getchannel("A"))
        return shown
    if transform is None:
        return small.convert("RGB")
    return transform.apply(small)


@lru_cache(_CACHED_PROFILES)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From an ICC profile's colours to a screen's; None if it is broken, of another mode, or hardly changes a thing."""
    if _PROFILE_MODES.get(profile[16:20]) != mode:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        probe = _probe(mode)
        change = np.asarray(transform.apply(probe)).astype(int) - np.asarray(probe.convert("RGB"))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return transform if np.abs(change).max() > _SAME_COLOUR else None


def _probe(mode: str) -> Image.Image:
    """A small image of colours from all over the cube."""
    bands = len(Image.getmodebands(mode) * "x")
    levels = np.linspace(0, 255, 6).round().astype(np.uint8)
    colours: NDArray[np.uint8] = np.stack(np.meshgrid(*[levels] * bands), axis=-1).reshape(1, -1, bands)
    return Image.fromarray(colours if bands > 1 else colours[..., 0], mode)


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
