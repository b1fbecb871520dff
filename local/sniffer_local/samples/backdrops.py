"""What the things of a sample image lie on or stand before. Both classes draw from here, with the same odds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from sniffer_local.samples.surface import Colour, Rng, from_hsv, mixed, noise_field, pick, scaled, some_colour, speckled

Size = tuple[int, int]


def backdrop(rng: Rng, size: Size, kinds: Collection[str] = ()) -> Image.Image:
    """An RGB image of that size, of one of those kinds (of BACKDROPS); of any kind when none is named."""
    odds = [weight if not kinds or kind in kinds else 0.0 for kind, (_, weight) in BACKDROPS.items()]
    draw, _ = list(BACKDROPS.values())[pick(rng, *odds)]
    return draw(rng, size)


def ground_colour(rng: Rng) -> Colour:
    """A colour that surfaces have: often pale, grey or brown, sometimes dark, sometimes strong."""
    kind = pick(rng, 3, 2, 2, 2)
    if kind == 0:
        return some_colour(rng, (0, 0.15), (0.6, 1))
    if kind == 1:
        return from_hsv(rng.uniform(0.04, 0.12), rng.uniform(0.2, 0.7), rng.uniform(0.25, 0.8))
    return some_colour(rng, (0, 0.3), (0.08, 0.5)) if kind == 2 else some_colour(rng, (0.3, 0.9), (0.3, 0.95))


def plain(rng: Rng, size: Size) -> Image.Image:
    """One colour, hardly uneven: paper, a sheet, a table top."""
    colour = ground_colour(rng)
    return mixed(colour, scaled(colour, 0.9), noise_field(rng, size, (4, 4)))


def gradient(rng: Rng, size: Size) -> Image.Image:
    """From one colour to another, straight or round."""
    across, down = np.meshgrid(np.linspace(-1, 1, size[0]), np.linspace(-1, 1, size[1]))
    if rng.random() < 0.5:
        angle = rng.uniform(0, 2 * np.pi)
        share = (across * np.cos(angle) + down * np.sin(angle)) * 0.45 + 0.5
    else:
        share = np.hypot(across - rng.uniform(-0.5, 0.5), down - rng.uniform(-0.5, 0.5)) / 1.6
    return mixed(ground_colour(rng), ground_colour(rng), share.astype(np.float32))


def wood(rng: Rng, size: Size) -> Image.Image:
    """Boards with a grain, across or down."""
    upright = rng.random() < 0.5
    length, width = (size[1], size[0]) if upright else size
    bend = noise_field(rng, (length, width), (3, 4)) * rng.uniform(3, 12)
    rings = np.sin((np.linspace(0, rng.uniform(20, 70), width, dtype=np.float32)[:, None] + bend) * 2.0)
    fibre = noise_field(rng, (length, width), (6, 260))
    dark = from_hsv(rng.uniform(0.03, 0.11), rng.uniform(0.3, 0.75), rng.uniform(0.2, 0.65))
    image = mixed(dark, scaled(dark, rng.uniform(1.25, 1.6)), rings * 0.22 + fibre * 0.6 + 0.15)
    if rng.random() < 0.6:
        _joints(rng, image, dark)
    return image.transpose(Image.Transpose.ROTATE_90) if upright else image


def _joints(rng: Rng, image: Image.Image, colour: Colour) -> None:
    draw = ImageDraw.Draw(image)
    board = int(image.height / rng.uniform(2.5, 6))
    for top in range(int(rng.uniform(0, board)), image.height, board):
        draw.line((0, top, image.width, top), fill=scaled(colour, 0.4), width=3)


def cloth(rng: Rng, size: Size) -> Image.Image:
    """Woven cloth with folds; plain, striped or checked."""
    colour, thread = ground_colour(rng), rng.uniform(1.2, 2.6)
    across, down = np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32)[:, None]
    weave = np.sin(across * thread) * np.sin(down * thread) * 0.16
    folds = noise_field(rng, size, (int(rng.integers(2, 6)), int(rng.integers(2, 6)))) * 0.5
    share = weave + folds + 0.2
    if rng.random() < 0.45:
        period = rng.uniform(0.04, 0.2) * size[0]
        share = share + (np.sin(across / period * 2 * np.pi) > 0.3) * 0.35
        if rng.random() < 0.6:
            share = share + (np.sin(down / period * 2 * np.pi) > 0.3) * 0.35
    return mixed(colour, some_colour(rng, (0, 0.8), (0.2, 1)), share.astype(np.float32) * rng.uniform(0.5, 1))


def stone(rng: Rng, size: Size) -> Image.Image:
    """Granite, concrete or marble."""
    colour = some_colour(rng, (0, 0.25), (0.2, 0.95))
    share = noise_field(rng, size, (9, 7)) * 0.35 + speckled(rng, size, rng.uniform(0.03, 0.25))
    if rng.random() < 0.4:
        vein = np.abs(noise_field(rng, size, (5, 4)) + noise_field(rng, size, (14, 10)) * 0.3 - 0.65)
        share = share + np.clip(0.05 - vein, 0, 0.05) * 14
    image = mixed(colour, scaled(colour, rng.choice([0.4, 0.6, 1.5])), share + 0.1)
    return image.filter(ImageFilter.BoxBlur(0.7))


def tiles(rng: Rng, size: Size) -> Image.Image:
    """Square or oblong tiles with joints, each a little different."""
    wide = int(rng.uniform(0.12, 0.4) * size[0])
    high = wide if rng.random() < 0.6 else wide // 2
    colour = ground_colour(rng)
    image = Image.new("RGB", size, scaled(colour, rng.choice([0.55, 0.75, 1.15])))
    draw = ImageDraw.Draw(image)
    joint = max(2, wide // 40)
    for row, top in enumerate(range(-int(rng.integers(high)), size[1], high)):
        shift = (wide // 2) * (row % 2) * int(high != wide)
        for left in range(-wide - shift, size[0], wide):
            draw.rectangle(
                (left + joint, top + joint, left + wide - joint, top + high - joint),
                fill=scaled(colour, rng.uniform(0.88, 1.08)),
            )
    return image


def blurred(rng: Rng, size: Size) -> Image.Image:
    """A room or a street far out of focus."""
    small = Image.new("RGB", (48, 36), ground_colour(rng))
    draw = ImageDraw.Draw(small)
    for _ in range(int(rng.integers(6, 18))):
        x, y, width, height = rng.uniform(-6, 48), rng.uniform(-6, 36), rng.uniform(3, 22), rng.uniform(3, 22)
        outline = draw.ellipse if rng.random() < 0.4 else draw.rectangle
        outline((x, y, x + width, y + height), fill=some_colour(rng, (0, 0.8), (0.1, 1)))
    return small.filter(ImageFilter.GaussianBlur(rng.uniform(1.2, 3))).resize(size, Image.Resampling.BICUBIC)


BACKDROPS: Mapping[str, tuple[Callable[[Rng, Size], Image.Image], float]] = {
    "plain": (plain, 2),
    "gradient": (gradient, 2),
    "wood": (wood, 3),
    "cloth": (cloth, 3),
    "stone": (stone, 2),
    "tiles": (tiles, 1.5),
    "blurred": (blurred, 1.5),
}
"""Every kind of backdrop, by name, and how often it is drawn beside the others."""
