"""Pictures of the class `other`: pizza, fruit, plated meals, doughnuts and cups, on the same backdrops as the drugs.

Round and shiny at times, as pills are, but larger and fewer.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from sniffer_local.samples.fruit import (
    Point,
    angles,
    ball,
    blob,
    citrus_slice,
    disc,
    draw_fruit,
    leaf,
    middle,
    plate,
    ring,
    within,
)
from sniffer_local.samples.surface import (
    Light,
    Rng,
    box_distance,
    from_hsv,
    grid,
    lit,
    noise_field,
    paint,
    painted,
    pick,
    place,
    rounded_height,
    scaled,
    scatter,
    some_colour,
)


def draw_food(canvas: Image.Image, rng: Rng, light: Light) -> None:
    """A pizza, fruit, a meal on a plate, doughnuts, or cups."""
    kinds: tuple[Callable[[Image.Image, Rng, Light], None], ...] = (_pizzas, draw_fruit, _meal, _doughnuts, _cups)
    kinds[pick(rng, 2, 3, 3, 1, 1)](canvas, rng, light)


def _pizzas(canvas: Image.Image, rng: Rng, light: Light) -> None:
    side = int(min(canvas.size) * rng.uniform(0.65, 1.05))
    centre = middle(canvas, rng)
    if rng.random() < 0.5:
        place(canvas, plate(rng, int(side * 1.12), light), centre, light, 8)
    place(canvas, _pizza_base(rng, side, light), centre, light, 10)
    _toppings(canvas, rng, light, centre, side * 0.38)


def _pizza_base(rng: Rng, side: int, light: Light) -> Image.Image:
    radius, angle = angles(side)
    noise = noise_field(rng, (side, side), (11, 11))
    edge = side / 2 - 4 - side * 0.03 * noise_field(rng, (side, side), (6, 6))
    distance = (radius - edge).astype(np.float32)
    albedo = painted(radius.shape, from_hsv(rng.uniform(0.075, 0.1), 0.6, 0.85))
    paint(albedo, noise * 0.6, from_hsv(0.06, 0.7, 0.5))
    sauce = np.clip((side * 0.42 - radius) / 4, 0, 1)
    paint(albedo, sauce, from_hsv(0.02, 0.85, 0.72))
    paint(albedo, sauce * np.clip(noise * 2.4 - 0.5, 0, 1), from_hsv(rng.uniform(0.11, 0.14), 0.55, 0.98))
    crust = rounded_height(distance, side * 0.09) - sauce * side * 0.05 + noise * side * 0.012
    slices = int(rng.choice([0, 6, 8]))
    if slices:
        cuts = np.abs(np.sin(angle * slices / 2)) * radius
        paint(albedo, np.exp(-((cuts / (side * 0.012)) ** 2)) * 0.7, from_hsv(0.06, 0.7, 0.4))
    return lit(albedo, crust.astype(np.float32), distance, light, 0.15)


def _toppings(canvas: Image.Image, rng: Rng, light: Light, centre: Point, radius: float) -> None:
    salami = disc(int(radius * 0.4), from_hsv(0.01, 0.75, rng.uniform(0.55, 0.8)), light, 4, 0.2)
    for spot in within(rng, centre, radius, int(rng.integers(4, 11)), radius * 0.42):
        place(canvas, salami, spot, light, 3)
    basil = leaf(int(radius * 0.28), from_hsv(rng.uniform(0.28, 0.36), 0.75, 0.5), rng.uniform(0, 6), light)
    olive = ring(int(radius * 0.16), from_hsv(0.2, 0.3, 0.18), light)
    for topping in (basil, olive):
        for spot in within(rng, centre, radius, int(rng.integers(0, 9)), radius * 0.2):
            place(canvas, topping, spot, light, 2)


def _meal(canvas: Image.Image, rng: Rng, light: Light) -> None:
    side = int(min(canvas.size) * rng.uniform(0.7, 1.0))
    centre = middle(canvas, rng)
    place(canvas, plate(rng, side, light), centre, light, 12)
    foods = (_eggs, _steak, _pasta, _salad)
    for number in rng.permutation(len(foods))[: int(rng.integers(1, 4))]:
        offset = rng.uniform(-0.12, 0.12, 2) * side
        foods[int(number)](canvas, rng, light, (centre[0] + offset[0], centre[1] + offset[1]), side * 0.3)


def _eggs(canvas: Image.Image, rng: Rng, light: Light, centre: Point, reach: float) -> None:
    for spot in within(rng, centre, reach, int(rng.integers(1, 4)), reach * 0.6):
        side = int(reach * rng.uniform(0.9, 1.2))
        place(canvas, blob(rng, side, (250, 248, 242), light, 6), spot, light, 3)
        yolk = ball(rng, int(side * 0.36), from_hsv(rng.uniform(0.1, 0.14), 0.85, 0.98), light)
        place(canvas, yolk, spot, light, 2)


def _steak(canvas: Image.Image, rng: Rng, light: Light, centre: Point, reach: float) -> None:
    side = int(reach * 1.7)
    colour = from_hsv(rng.uniform(0.02, 0.07), 0.65, rng.uniform(0.35, 0.6))
    meat = blob(rng, side, colour, light, 12, rough=0.6)
    place(canvas, meat, centre, light, 9)
    bar, angle = int(reach * 0.9), rng.uniform(0, 3)
    for offset in np.linspace(-0.3, 0.3, 4) * reach:
        u, v = grid(bar, angle)
        distance = box_distance(u, v, bar * 0.4, bar * 0.025, 1)
        mark = lit(painted(u.shape, scaled(colour, 0.45)), np.zeros_like(u), distance, light, 0)
        place(canvas, mark, (centre[0] - np.sin(angle) * offset, centre[1] + np.cos(angle) * offset), light)


def _pasta(canvas: Image.Image, rng: Rng, light: Light, centre: Point, reach: float) -> None:
    side = int(reach * 1.5)
    colour = from_hsv(rng.uniform(0.11, 0.14), rng.uniform(0.4, 0.65), 0.95)
    strands = []
    for _ in range(5):
        radius = rng.uniform(0.1, 0.46) * side
        u, v = grid(side)
        strands.append(
            np.abs(np.hypot(u - rng.normal(0, side * 0.06), v - rng.normal(0, side * 0.06)) - radius) - side * 0.03
        )
    distance = np.minimum.reduce(strands).astype(np.float32)
    nest = lit(painted(distance.shape, colour), rounded_height(distance, side * 0.03), distance, light)
    for turn in range(4):
        spot = (centre[0] + rng.normal(0, reach * 0.12), centre[1] + rng.normal(0, reach * 0.12))
        place(canvas, nest.rotate(turn * 90), spot, light, 3)
    sauce = blob(rng, int(reach * 0.8), from_hsv(0.02, 0.85, 0.65), light, 7)
    place(canvas, sauce, centre, light, 2)


def _salad(canvas: Image.Image, rng: Rng, light: Light, centre: Point, reach: float) -> None:
    for spot in within(rng, centre, reach, 26, reach * 0.14):
        colour = from_hsv(rng.uniform(0.22, 0.36), rng.uniform(0.5, 0.9), rng.uniform(0.35, 0.75))
        green = leaf(int(reach * rng.uniform(0.35, 0.6)), colour, rng.uniform(0, 6.3), light)
        place(canvas, green, spot, light, 3)
    tomato = citrus_slice(rng, int(reach * 0.4), light) if rng.random() < 0.4 else ball(
        rng, int(reach * 0.36), from_hsv(0.01, 0.85, 0.82), light
    )  # fmt: skip
    for spot in within(rng, centre, reach * 0.9, int(rng.integers(2, 7)), reach * 0.35):
        place(canvas, tomato, spot, light, 4)


def _doughnuts(canvas: Image.Image, rng: Rng, light: Light) -> None:
    side = int(min(canvas.size) * rng.uniform(0.4, 0.75))
    sprites = [_doughnut(rng, side, light) for _ in range(3)]
    for spot in scatter(rng, canvas.size, int(rng.integers(1, 8)), side * 0.95):
        place(canvas, sprites[int(rng.integers(3))], spot, light, side * 0.08)


def _doughnut(rng: Rng, side: int, light: Light) -> Image.Image:
    radius, angle = angles(side)
    distance = (np.abs(radius - side * 0.31) - side * 0.17).astype(np.float32)
    albedo = painted(radius.shape, from_hsv(0.085, 0.6, 0.78))
    wave = np.cos(angle * 7 + rng.uniform(0, 6)) * side * 0.01
    icing = np.clip(-(np.abs(radius - side * 0.31) - side * 0.13 - wave) / 2, 0, 1)
    paint(albedo, icing, rng.choice([(90, 52, 34), (243, 150, 190), (250, 240, 225), (150, 210, 240)]))
    sprinkles = Image.new("RGB", (side, side))
    draw = ImageDraw.Draw(sprinkles)
    for x, y in scatter(rng, (side, side), 45, side * 0.05):
        turn, reach = rng.uniform(0, 3.1), side * 0.018
        ends = (x - np.cos(turn) * reach, y - np.sin(turn) * reach, x + np.cos(turn) * reach, y + np.sin(turn) * reach)
        draw.line(ends, fill=some_colour(rng, (0.6, 1), (0.7, 1)), width=max(2, side // 70))
    coloured = np.asarray(sprinkles, np.float32)
    albedo = np.where((coloured.max(axis=2) * icing > 127)[..., None], coloured, albedo)
    return lit(albedo, rounded_height(distance, side * 0.16), distance, light)


def _cups(canvas: Image.Image, rng: Rng, light: Light) -> None:
    side = int(min(canvas.size) * rng.uniform(0.35, 0.75))
    cup = _cup(rng, side, light)
    for spot in scatter(rng, canvas.size, int(rng.integers(1, 4)), side * 1.1) or [middle(canvas, rng)]:
        place(canvas, plate(rng, int(side * 1.1), light), spot, light, 6)
        place(canvas, cup, spot, light, 14)


def _cup(rng: Rng, side: int, light: Light) -> Image.Image:
    """A cup of coffee or tea seen from above, with its handle."""
    u, v = grid(side, rng.uniform(0, 6.3))
    radius = np.hypot(u, v)
    wall = side * 0.33
    handle = box_distance(u - wall - side * 0.06, v, side * 0.1, side * 0.035, side * 0.03)
    distance = np.minimum(radius - wall, handle).astype(np.float32)
    colour = from_hsv(0.1, 0.04, 0.95) if rng.random() < 0.5 else some_colour(rng, (0.2, 0.8), (0.3, 1))
    albedo = painted(u.shape, colour)
    drink = from_hsv(rng.uniform(0.04, 0.1), rng.uniform(0.5, 0.85), rng.uniform(0.2, 0.6))
    surface = np.clip((wall * 0.88 - radius) / 2, 0, 1)
    paint(albedo, surface, drink)
    foam = np.clip(noise_field(rng, (side, side), (5, 5)) * 3 - 1.4, 0, 1) * rng.choice([0.0, 0.8])
    paint(albedo, surface * foam * (radius < wall * 0.7), from_hsv(0.09, 0.25, 0.92))
    height = rounded_height(distance, side * 0.04) * (1 - surface)
    return lit(albedo, height.astype(np.float32), distance, light)
