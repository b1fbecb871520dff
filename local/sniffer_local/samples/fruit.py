"""Fruit, and the round things that meals are made of: pictures of the class `other`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from sniffer_local.samples.surface import (
    Colour,
    Field,
    Light,
    Rng,
    box_distance,
    from_hsv,
    grid,
    lit,
    noise_field,
    paint,
    painted,
    place,
    rounded_height,
    scaled,
    scatter,
    some_colour,
)

Point = tuple[float, float]


def draw_fruit(canvas: Image.Image, rng: Rng, light: Light) -> None:
    """Up to three kinds of fruit, whole or cut, on the backdrop or around a plate."""
    kinds: tuple[Callable[[Rng, int, Light], Image.Image], ...] = (
        _apple, _orange, _banana, citrus_slice, _watermelon, _grapes,
    )  # fmt: skip
    side = int(min(canvas.size) * rng.uniform(0.35, 0.7))
    chosen = [kinds[int(index)] for index in rng.integers(0, len(kinds), int(rng.integers(1, 4)))]
    sprites = [draw(rng, int(side * rng.uniform(0.85, 1.1)), light) for draw in chosen for _ in range(2)]
    if rng.random() < 0.3:
        place(canvas, plate(rng, int(min(canvas.size) * 0.95), light), middle(canvas, rng), light, 10)
    for spot in scatter(rng, canvas.size, int(rng.integers(1, 7)), side * rng.uniform(0.8, 1)):
        place(canvas, sprites[int(rng.integers(len(sprites)))], spot, light, side * 0.15)


def angles(side: int) -> tuple[Field, Field]:
    """Distance from the centre of a square sprite, and direction in radians."""
    u, v = grid(side)
    return np.hypot(u, v), np.arctan2(v, u)


def disc(side: int, colour: Colour, light: Light, bevel: float, gloss: float | None = None) -> Image.Image:
    """A round flat thing with a soft edge, as wide as the sprite."""
    u, v = grid(side)
    distance = np.hypot(u, v) - side / 2 + 2
    return lit(painted(u.shape, colour), rounded_height(distance, bevel), distance, light, gloss)


def middle(canvas: Image.Image, rng: Rng, spread: float = 0.08) -> Point:
    """A point near the middle of the canvas."""
    return (
        canvas.width * (0.5 + rng.uniform(-spread, spread)),
        canvas.height * (0.5 + rng.uniform(-spread, spread)),
    )


def within(rng: Rng, centre: Point, radius: float, count: int, spacing: float = 0) -> list[Point]:
    """Points of a circle, apart from each other."""
    side = 2 * radius
    spots = scatter(rng, (int(side), int(side)), count, spacing)
    return [
        (centre[0] + x - radius, centre[1] + y - radius) for x, y in spots if np.hypot(x - radius, y - radius) < radius
    ]


def plate(rng: Rng, side: int, light: Light) -> Image.Image:
    """A round plate with a raised rim, white or coloured."""
    radius, _ = angles(side)
    distance = (radius - side / 2 + 3).astype(np.float32)
    colour = from_hsv(0.1, 0.04, 0.96) if rng.random() < 0.6 else some_colour(rng, (0.1, 0.7), (0.3, 1))
    albedo = painted(radius.shape, colour)
    if rng.random() < 0.4:
        band = np.exp(-(((radius - side * 0.44) / (side * 0.012)) ** 2))
        paint(albedo, band, some_colour(rng, (0.5, 1), (0.3, 0.8)))
    well = np.clip((radius - side * 0.3) / (side * 0.06), 0, 1)
    height = side * 0.02 * well * well * (3 - 2 * well) + rounded_height(distance, side * 0.015)
    return lit(albedo, height.astype(np.float32), distance, light, 0.4)


def leaf(side: int, colour: Colour, angle: float, light: Light) -> Image.Image:
    """A leaf with its midrib, turned by `angle` radians."""
    u, v = grid(max(9, side), angle)
    half = max(9, side) / 2 - 2
    distance = (np.hypot(u, np.abs(v) + half * 0.75) - half * 1.25).astype(np.float32)
    albedo = painted(u.shape, colour)
    paint(albedo, np.exp(-((v / 1.3) ** 2)) * 0.6, scaled(colour, 1.5))
    return lit(albedo, rounded_height(distance, half * 0.5) * 0.5, distance, light)


def ring(side: int, colour: Colour, light: Light) -> Image.Image:
    """A flat ring, such as a slice of olive."""
    radius, _ = angles(max(9, side))
    distance = (np.abs(radius - side * 0.33) - side * 0.15).astype(np.float32)
    return lit(painted(radius.shape, colour), rounded_height(distance, side * 0.15), distance, light)


def ball(
    rng: Rng, side: int, colour: Colour, light: Light, bumps: float = 0.0, blush: Colour | None = None
) -> Image.Image:
    """A round fruit: dimpled skin when `bumps` is above 0, a cheek of another colour when one is given."""
    u, v = grid(side)
    body = side / 2 - 2
    distance = (np.hypot(u, v * rng.uniform(0.95, 1.06)) - body).astype(np.float32)
    height = np.sqrt(np.clip(body**2 - (distance + body) ** 2, 0, None))
    albedo = painted(u.shape, colour)
    mottle = noise_field(rng, (side, side), (7, 7))
    paint(albedo, mottle * 0.25, scaled(colour, 0.7))
    if blush is not None:
        paint(albedo, np.clip(mottle * 0.4 + (u + v) / side, 0, 1), blush)
    if bumps > 0:
        height = height + noise_field(rng, (side, side), (side // 4, side // 4)) * bumps
    return lit(albedo, height.astype(np.float32), distance, light)


def blob(rng: Rng, side: int, colour: Colour, light: Light, bevel: float, rough: float = 0.3) -> Image.Image:
    """A flat body of uneven outline: an egg white, a piece of meat, a spot of sauce."""
    radius, angle = angles(side)
    waves = sum(np.cos(angle * k + rng.uniform(0, 6.3)) * rough / k for k in (2, 3, 5)) / 3
    distance = (radius - side * (0.4 + 0.3 * waves)).astype(np.float32)
    albedo = painted(radius.shape, colour)
    paint(albedo, noise_field(rng, (side, side), (9, 9)) * 0.5, scaled(colour, 0.75))
    return lit(albedo, rounded_height(distance, bevel), distance, light)


def _apple(rng: Rng, side: int, light: Light) -> Image.Image:
    colour = from_hsv(rng.choice([0.0, 0.98, 0.22, 0.16]), rng.uniform(0.65, 0.9), rng.uniform(0.65, 0.9))
    fruit = ball(rng, side, colour, light, blush=from_hsv(rng.uniform(0, 0.2), 0.7, 0.8))
    stem = lit(*_stick(side // 4, from_hsv(0.08, 0.6, 0.3), rng.uniform(-1, 1)), light)
    place(fruit, stem, (side / 2, side * 0.36), light)
    place(fruit, leaf(side // 4, from_hsv(0.3, 0.7, 0.5), rng.uniform(-1, 1), light), (side * 0.62, side * 0.3), light)
    return fruit


def _stick(side: int, colour: Colour, angle: float) -> tuple[Field, Field, Field]:
    u, v = grid(max(9, side), angle + np.pi / 2)
    distance = box_distance(u, v, max(9, side) / 2 - 1, max(1.5, side * 0.07), 1)
    return painted(u.shape, colour), rounded_height(distance, 2), distance


def _orange(rng: Rng, side: int, light: Light) -> Image.Image:
    hue = rng.choice([0.08, 0.09, 0.15, 0.25])
    return ball(rng, side, from_hsv(hue, 0.88, rng.uniform(0.85, 1)), light, bumps=1.8)


def _banana(rng: Rng, side: int, light: Light) -> Image.Image:
    u, v = grid(side, rng.uniform(0, 6.3))
    ring, along = np.hypot(u, v + side * 0.28), np.arctan2(u, v + side * 0.28)
    taper = np.clip(1 - (np.abs(along) / 0.95) ** 4, 0, 1)
    distance = (np.abs(ring - side * 0.42) - side * 0.1 * (0.35 + 0.65 * taper)).astype(np.float32)
    distance = np.maximum(distance, (np.abs(along) - 0.95) * side * 0.4)
    albedo = painted(u.shape, from_hsv(rng.uniform(0.13, 0.16), 0.78, 0.95))
    paint(albedo, np.clip((np.abs(along) - 0.8) * 8, 0, 1), from_hsv(0.09, 0.6, 0.3))
    paint(albedo, np.clip(noise_field(rng, (side, side), (16, 16)) * 3 - 2.1, 0, 0.6), from_hsv(0.08, 0.6, 0.35))
    return lit(albedo, rounded_height(distance, side * 0.1), distance, light)


def citrus_slice(rng: Rng, side: int, light: Light) -> Image.Image:
    """A slice of orange, lemon, lime or grapefruit."""
    radius, angle = angles(side)
    distance = (radius - side / 2 + 2).astype(np.float32)
    hue = rng.choice([0.09, 0.16, 0.26, 0.99])
    albedo = painted(radius.shape, from_hsv(hue, 0.85, 0.9))
    paint(albedo, np.clip((side * 0.46 - radius) / 2, 0, 1), from_hsv(hue, 0.12, 1))
    flesh = np.clip((side * 0.42 - radius) / 2, 0, 1) * np.clip(np.abs(np.sin(angle * 4.5)) * radius / 3 - 1, 0, 1)
    paint(albedo, flesh, from_hsv(hue, 0.65, 0.96))
    return lit(albedo, rounded_height(distance, 3), distance, light)


def _watermelon(rng: Rng, side: int, light: Light) -> Image.Image:
    u, v = grid(side, rng.uniform(0, 6.3))
    distance = np.maximum(np.hypot(u, v + side * 0.2) - side * 0.48, -v - side * 0.2).astype(np.float32)
    radius = np.hypot(u, v + side * 0.2)
    albedo = painted(u.shape, from_hsv(0.33, 0.75, 0.45))
    paint(albedo, np.clip((side * 0.44 - radius) / 2, 0, 1), from_hsv(0.25, 0.2, 0.95))
    paint(albedo, np.clip((side * 0.4 - radius) / 3, 0, 1), from_hsv(0.98, 0.72, 0.9))
    for a, b in scatter(rng, (side, side), 16, side * 0.12):
        seed = np.hypot((u - a + side / 2) * 1.5, v - b + side / 2) - side * 0.018
        paint(albedo, np.clip(-seed, 0, 1) * (radius < side * 0.36), (40, 25, 20))
    return lit(albedo, rounded_height(distance, 5), distance, light)


def _grapes(rng: Rng, side: int, light: Light) -> Image.Image:
    bunch = Image.new("RGBA", (side, side))
    berry_side = max(12, side // 5)
    colour = from_hsv(rng.choice([0.78, 0.24, 0.96]), rng.uniform(0.4, 0.7), rng.uniform(0.4, 0.75))
    berry = ball(rng, berry_side, colour, light)
    for row in range(6):
        for column in range(6 - row):
            x = side / 2 + (column - (5 - row) / 2) * berry_side * 0.72 + rng.normal(0, 2)
            place(bunch, berry, (x, side * 0.16 + row * berry_side * 0.68 + rng.normal(0, 2)), light)
            bunch.alpha_composite(
                berry, (round(x - berry_side / 2), round(side * 0.16 + (row - 0.5) * berry_side * 0.68))
            )
    return bunch
