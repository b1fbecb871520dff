"""Where viewers differ about one frame: transparency, laid onto white by some and onto black by others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

_FAINT = 64
"""Of 255; in more transparent pixels colours are too coarse to say anything."""
_VISIBLE_LEVELS = 16
_VISIBLE_SHARE = 0.002
"""Two pictures differ visibly if a five-hundredth of their pixels do, by 16 levels of grey."""


def backgrounds(shown: Image.Image) -> Iterator[tuple[str | None, Pixels]]:
    """One picture without a name, or, if it is transparent and that makes a difference, one for each background.

    Where the colours of a transparent picture say nothing, what it shows is its transparency alone.
    """
    if shown.mode != "RGBA":
        yield None, np.asarray(shown)
        return
    values = np.asarray(shown)
    alpha = values[..., 3:]
    on_white, on_black = _laid(values, 255), _laid(values, 0)
    if not differ(on_white, on_black):
        yield None, on_white
        return
    yield "on white", on_white
    yield "on black", on_black
    colours = values[..., :3][alpha[..., 0] > _FAINT]
    if colours.size and np.ptp(colours, axis=0).max() < _VISIBLE_LEVELS and np.ptp(alpha) >= _VISIBLE_LEVELS:
        yield "alpha", np.ascontiguousarray(np.repeat(alpha, 3, axis=2))


def differ(left: Pixels, right: Pixels) -> bool:
    """Whether a person sees a difference between two pictures of one size."""
    change = np.abs(left.astype(np.int16) - right).max(axis=2)
    return bool((change >= _VISIBLE_LEVELS).mean() >= _VISIBLE_SHARE)


def _laid(values: Pixels, background: int) -> Pixels:
    alpha = values[..., 3:].astype(np.uint32)
    return ((values[..., :3] * alpha + background * (255 - alpha) + 127) // 255).astype(np.uint8)
