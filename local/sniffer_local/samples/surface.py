"""The brushes of the sample images: colours, noise fields, and solid things that are lit and cast a shadow.

Shapes are signed distances in pixels (negative inside), so that edges are smooth at any size and angle.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

Rng = np.random.Generator
Field = NDArray[np.floating[Any]]
Colour = tuple[int, int, int]

AMBIENT = 0.62


@dataclass(frozen=True, slots=True)
class Light:
    """Where the light of a scene comes from, as a unit vector towards it; `z` points to the camera."""

    x: float
    y: float
    z: float
    gloss: float

    @property
    def shadow_offset(self) -> tuple[float, float]:
        """How far a shadow falls, per pixel of height."""
        return -self.x / self.z, -self.y / self.z


def some_light(rng: Rng) -> Light:
    """Light from any side, from low to high, on anything from matt to glossy things."""
    around, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.1)
    flat = np.cos(height)
    return Light(
        float(flat * np.cos(around)), float(flat * np.sin(around)), float(np.sin(height)), rng.uniform(0.1, 0.8)
    )


def some_colour(rng: Rng, saturation: tuple[float, float] = (0, 1), value: tuple[float, float] = (0.1, 1)) -> Colour:
    """A colour of any hue, within the given ranges of saturation and value."""
    return from_hsv(rng.uniform(), rng.uniform(*saturation), rng.uniform(*value))


def from_hsv(hue: float, saturation: float, value: float) -> Colour:
    """8-bit RGB from hue (any real, modulo 1), saturation and value in [0, 1]."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, min(max(saturation, 0), 1), min(max(value, 0), 1))
    return round(255 * red), round(255 * green), round(255 * blue)


def scaled(colour: Colour, factor: float) -> Colour:
    """The colour darker (factor below 1) or lighter."""
    red, green, blue = (min(255, round(part * factor)) for part in colour)
    return red, green, blue


def pick(rng: Rng, *choices: float) -> int:
    """An index drawn with the given weights."""
    weights = np.array(choices)
    return int(rng.choice(len(weights), p=weights / weights.sum()))


def noise_field(rng: Rng, size: tuple[int, int], cells: tuple[int, int]) -> Field:
    """Smooth noise in [0, 1], (height, width), with about `cells` bumps across and down."""
    coarse = rng.random((max(2, cells[1]), max(2, cells[0])), dtype=np.float32)
    return np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)).clip(0, 1)


def mixed(first: Colour, second: Colour, share: Field) -> Image.Image:
    """An image that goes from the first colour, where the share is 0, to the second, where it is 1."""
    mask = Image.fromarray((share.clip(0, 1) * 255).astype(np.uint8))
    return Image.composite(Image.new("RGB", mask.size, second), Image.new("RGB", mask.size, first), mask)


def grid(size: int, angle: float = 0.0) -> tuple[Field, Field]:
    """Coordinates (u, v) of a square sprite's pixels around its centre, turned by `angle` radians."""
    steps = np.arange(size, dtype=np.float32) - (size - 1) / 2
    x, y = np.meshgrid(steps, steps)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return x * cos + y * sin, y * cos - x * sin


def box_distance(u: Field, v: Field, half_width: float, half_height: float, corner: float) -> Field:
    """Signed distance to a rectangle with round corners."""
    across, down = np.abs(u) - half_width + corner, np.abs(v) - half_height + corner
    outside = np.hypot(np.maximum(across, 0), np.maximum(down, 0))
    return outside + np.minimum(np.maximum(across, down), 0) - np.float32(corner)


def rounded_height(distance: Field, bevel: float) -> Field:
    """Height above the ground of a body whose edge is a quarter circle of that radius, flat within."""
    inward: Field = np.clip(1 + distance / np.float32(bevel), 0, 1)
    height: Field = np.float32(bevel) * np.sqrt(1 - inward * inward)
    return height


def painted(shape: tuple[int, ...], colour: Colour) -> Field:
    """One colour over a whole sprite, as float RGB."""
    return np.broadcast_to(np.array(colour, np.float32), (*shape, 3)).copy()


def paint(albedo: Field, mask: Field, colour: Colour) -> None:
    """Lay a colour onto a sprite where the mask is 1."""
    albedo += mask[..., None] * (np.array(colour, np.float32) - albedo)


def lit(albedo: Field, height: Field, distance: Field, light: Light, gloss: float | None = None) -> Image.Image:
    """An RGBA sprite: the body of that height and colour under the light, clear outside of its edge."""
    down, across = np.gradient(height)
    length = np.sqrt(across * across + down * down + 1)
    facing = (-across * light.x - down * light.y + light.z) / length
    # Blinn-Phong: half-way between the light and the camera, which looks straight down.
    half = np.array([light.x, light.y, light.z + 1])
    half /= np.linalg.norm(half)
    shine = np.clip((-across * half[0] - down * half[1] + half[2]) / length, 0, 1) ** 40
    strength = light.gloss if gloss is None else gloss
    brightness = AMBIENT + (1 - AMBIENT) * np.clip(facing / light.z, 0, 1.4)
    colour = albedo * brightness[..., None] + (255 * strength * shine)[..., None] * (facing > 0)[..., None]
    alpha = np.clip(0.5 - distance, 0, 1) * 255
    return Image.fromarray(np.dstack([colour.clip(0, 255), alpha]).astype(np.uint8), "RGBA")


def place(
    canvas: Image.Image, sprite: Image.Image, centre: tuple[float, float], light: Light, height: float = 0.0
) -> None:
    """Lay a sprite onto the canvas, with the shadow of a body of that height (pixels; 0 for none)."""
    left, top = round(centre[0] - sprite.width / 2), round(centre[1] - sprite.height / 2)
    if height > 0:
        cast_shadow(canvas, sprite.getchannel("A"), (left, top), light, height)
    canvas.paste(sprite, (left, top), sprite)


def cast_shadow(canvas: Image.Image, alpha: Image.Image, corner: tuple[int, int], light: Light, height: float) -> None:
    """Darken the canvas where a body with that outline keeps the light away; soft, and softer when it is higher."""
    across, down = light.shadow_offset
    reach = min(height, 40.0)
    margin = round(2 * reach) + 4
    mask = Image.new("L", (alpha.width + 2 * margin, alpha.height + 2 * margin))
    mask.paste(alpha, (margin + round(across * reach * 0.7), margin + round(down * reach * 0.7)))
    soft = mask.filter(ImageFilter.BoxBlur(max(1.0, reach * 0.35))).point(lambda value: value * 0.5)
    canvas.paste((10, 8, 12), (corner[0] - margin, corner[1] - margin), soft)


def turned(sprite: Image.Image, angle_deg: float) -> Image.Image:
    """The sprite turned counter-clockwise, with room for its corners."""
    return sprite.rotate(angle_deg, Image.Resampling.BILINEAR, expand=True)


def speckled(rng: Rng, size: tuple[int, int], strength: float) -> Field:
    """Fine grain around 0, (height, width), of that standard deviation."""
    tile = rng.normal(0, strength, (128, 128)).astype(np.float32)
    return np.tile(tile, (size[1] // 128 + 1, size[0] // 128 + 1))[: size[1], : size[0]]


def font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font at that size in pixels."""
    return ImageFont.load_default(max(6.0, round(size)))


def text_mask(text: str, size: int, side: int, angle_deg: float = 0.0) -> Field:
    """Text centred in a square of that side, as a mask in [0, 1]."""
    image = Image.new("L", (side, side))
    ImageDraw.Draw(image).text((side / 2, side / 2), text, fill=255, font=font(size), anchor="mm")
    return np.asarray(image.rotate(angle_deg, Image.Resampling.BILINEAR), np.float32) / 255


def multiply(canvas: Image.Image, shade: Field) -> None:
    """Darken the canvas by a low-resolution field of factors in [0, 1], stretched over it."""
    mask = Image.fromarray((shade.clip(0, 1) * 255).astype(np.uint8)).resize(canvas.size, Image.Resampling.BILINEAR)
    canvas.paste(ImageChops.multiply(canvas, Image.merge("RGB", [mask] * 3)))


def scatter(rng: Rng, size: tuple[int, int], count: int, spacing: float) -> list[tuple[float, float]]:
    """Up to `count` points, no two nearer than `spacing`, some of them close to the border."""
    points: list[tuple[float, float]] = []
    for _ in range(count * 12):
        if len(points) == count:
            break
        x, y = rng.uniform(0.04, 0.96) * size[0], rng.uniform(0.04, 0.96) * size[1]
        if all(np.hypot(x - a, y - b) >= spacing for a, b in points):
            points.append((float(x), float(y)))
    return points
