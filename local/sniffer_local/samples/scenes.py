"""Pictures of the class `other`: landscapes, towns, and drawn faces."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from sniffer_local.samples.surface import (
    Colour,
    Field,
    Light,
    Rng,
    from_hsv,
    mixed,
    multiply,
    noise_field,
    pick,
    scaled,
    some_colour,
)


def draw_landscape(canvas: Image.Image, rng: Rng, _light: Light) -> None:
    """Sky with clouds, a sun or a moon; hills with trees, a town, or water. Covers the whole canvas."""
    dark = rng.random() < 0.1
    _sky(canvas, rng, dark)
    horizon = canvas.height * rng.uniform(0.35, 0.65)
    hue = rng.choice([0.28, 0.32, 0.1, 0.6, 0.07])
    layers = int(rng.integers(2, 5))
    for number in range(layers):
        nearness = (number + 1) / layers
        top = horizon + (canvas.height - horizon) * 0.75 * number / layers
        value = (0.25 if dark else 0.9) * (1 - 0.4 * nearness)
        colour = from_hsv(hue + rng.normal(0, 0.02), 0.2 + 0.5 * nearness, value)
        _ridge(canvas, rng, top, canvas.height * rng.uniform(0.04, 0.2), colour)
        if rng.random() < 0.7:
            _trees(canvas, rng, top, nearness, scaled(colour, 0.6))
    if rng.random() < 0.45:
        _town(canvas, rng, horizon + canvas.height * 0.12, dark)
    if rng.random() < 0.3:
        _water(canvas, rng, canvas.height * rng.uniform(0.7, 0.85))


def _sky(canvas: Image.Image, rng: Rng, dark: bool) -> None:
    hue = rng.choice([0.58, 0.55, 0.62, 0.05, 0.9])
    value = rng.uniform(0.08, 0.25) if dark else rng.uniform(0.8, 1)
    top = from_hsv(hue, rng.uniform(0.1, 0.75), value)
    bottom = from_hsv(rng.choice([hue, 0.08, 0.12, 0.95]), rng.uniform(0.05, 0.5), min(1, value * 1.3))
    down = np.broadcast_to(np.linspace(0, 1.5, canvas.height, dtype=np.float32)[:, None], canvas.size[::-1])
    canvas.paste(mixed(top, bottom, down))
    draw = ImageDraw.Draw(canvas)
    radius = min(canvas.size) * rng.uniform(0.04, 0.1)
    x, y = rng.uniform(0.1, 0.9) * canvas.width, rng.uniform(0.08, 0.4) * canvas.height
    if rng.random() < 0.7:
        disc = (235, 235, 225) if dark else from_hsv(rng.uniform(0.08, 0.15), rng.uniform(0.1, 0.6), 1)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=disc)
    cover = noise_field(rng, canvas.size, (6, 9)) * 0.7 + noise_field(rng, canvas.size, (17, 24)) * 0.4
    clouds = np.clip((cover - rng.uniform(0.5, 0.95)) * 4, 0, 0.85)
    mask = Image.fromarray((clouds * 255).astype(np.uint8))
    canvas.paste((70, 72, 84) if dark else (250, 248, 246), (0, 0), mask)


def _ridge(canvas: Image.Image, rng: Rng, top: float, swing: float, colour: Colour) -> None:
    line = noise_field(rng, (canvas.width, 1), (int(rng.integers(3, 12)), 2))[0]
    fine = noise_field(rng, (canvas.width, 1), (int(rng.integers(30, 90)), 2))[0]
    heights = top - (line - 0.3) * swing - fine * swing * 0.12
    rows = np.arange(canvas.height, dtype=np.float32)[:, None]
    mask = np.clip(rows - heights[None, :], 0, 1)
    ground = mixed(colour, scaled(colour, 0.72), noise_field(rng, canvas.size, (24, 40)))
    canvas.paste(ground, (0, 0), Image.fromarray((mask * 255).astype(np.uint8)))


def _trees(canvas: Image.Image, rng: Rng, top: float, nearness: float, colour: Colour) -> None:
    draw = ImageDraw.Draw(canvas)
    pointed = rng.random() < 0.5
    tall = canvas.height * (0.05 + 0.18 * nearness)
    for _ in range(int(rng.integers(3, 26))):
        x, foot = rng.uniform(0, canvas.width), top + rng.uniform(0.2, 1.2) * tall * 0.5
        high = tall * rng.uniform(0.6, 1.2)
        shade = scaled(colour, rng.uniform(0.75, 1.25))
        draw.rectangle((x - high * 0.03, foot - high * 0.3, x + high * 0.03, foot), fill=(70, 48, 34))
        if pointed:
            for level in (0.0, 0.25, 0.5):
                width = high * (0.26 - 0.3 * level * 0.5)
                y = foot - high * (0.15 + level)
                draw.polygon(((x - width, y), (x + width, y), (x, y - high * 0.42)), fill=shade)
        else:
            for a, b in rng.normal(0, high * 0.12, (6, 2)):
                r = high * 0.2
                draw.ellipse((x + a - r, foot - high * 0.6 + b - r, x + a + r, foot - high * 0.6 + b + r), fill=shade)


def _town(canvas: Image.Image, rng: Rng, ground: float, dark: bool) -> None:
    x = rng.uniform(-0.1, 0.4) * canvas.width
    tall = rng.random() < 0.5
    end = canvas.width * rng.uniform(0.6, 1.1)
    while x < end:
        width = canvas.width * rng.uniform(0.05, 0.13)
        height = canvas.height * (rng.uniform(0.15, 0.5) if tall else rng.uniform(0.07, 0.13))
        _house(canvas, rng, (x, ground - height, x + width, ground), tall, dark)
        x += width * rng.uniform(1, 1.0 if tall else 1.8)


def _house(canvas: Image.Image, rng: Rng, box: tuple[float, float, float, float], tall: bool, dark: bool) -> None:
    draw = ImageDraw.Draw(canvas)
    left, top, right, bottom = box
    wall = some_colour(rng, (0, 0.35), (0.15, 0.35) if dark else (0.4, 0.95))
    draw.rectangle(box, fill=wall)
    if not tall:
        roof = from_hsv(rng.uniform(0, 0.08), rng.uniform(0.4, 0.7), 0.3 if dark else rng.uniform(0.4, 0.7))
        rise = (right - left) * 0.45
        draw.polygon(((left - 4, top), (right + 4, top), ((left + right) / 2, top - rise)), fill=roof)
    pane = (right - left) / (5 if tall else 4)
    for y in np.arange(top + pane * 0.6, bottom - pane * 0.8, pane * 1.5):
        for x in np.arange(left + pane * 0.5, right - pane * 0.8, pane * 1.3):
            glass = (250, 220, 130) if dark and rng.random() < 0.5 else (60, 75, 95)
            draw.rectangle((x, y, x + pane * 0.7, y + pane * 0.9), fill=glass)


def _water(canvas: Image.Image, rng: Rng, shore: float) -> None:
    """Mirror what is above the shore, darker and rippled."""
    top = int(shore)
    depth = canvas.height - top
    above = canvas.crop((0, max(0, top - depth), canvas.width, top)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    above = above.resize((canvas.width, depth)).filter(ImageFilter.BoxBlur(3))
    ripples = noise_field(rng, above.size, (6, 60)) * 0.4 + 0.55
    multiply(above, ripples)
    canvas.paste(above, (0, top))


def draw_face(canvas: Image.Image, rng: Rng, light: Light) -> None:
    """One to three drawn people, head and shoulders, before the backdrop."""
    count = 1 + pick(rng, 6, 2, 1)
    side = min(canvas.height * rng.uniform(0.75, 1.15), canvas.width / count * 1.25)
    for number in range(count):
        x = canvas.width * (number + 0.5) / count + rng.normal(0, side * 0.05)
        person = _person(rng, max(80, int(side)), light)
        person = person.rotate(rng.normal(0, 7), Image.Resampling.BILINEAR)
        canvas.paste(person, (round(x - side / 2), round(canvas.height - side * rng.uniform(0.92, 1.02))), person)


def _person(rng: Rng, side: int, light: Light) -> Image.Image:
    figure = Image.new("RGBA", (side, side))
    draw = ImageDraw.Draw(figure)
    skin = _skin(rng)
    hair = from_hsv(rng.uniform(0.02, 0.12), rng.uniform(0.1, 0.8), rng.uniform(0.12, 0.85))
    if rng.random() < 0.08:
        hair = some_colour(rng, (0.5, 1), (0.4, 1))
    wide = rng.uniform(0.2, 0.25)
    long_hair = rng.random() < 0.45
    if long_hair:
        _oval(draw, side, 0.5, 0.5, wide * 1.35, 0.42, hair)
    _oval(draw, side, 0.5, 1.08, rng.uniform(0.36, 0.46), 0.3, some_colour(rng, (0, 0.9), (0.4, 1)))
    draw.rectangle((side * 0.43, side * 0.62, side * 0.57, side * 0.84), fill=scaled(skin, 0.85))
    _oval(draw, side, 0.5, 0.84, 0.1, 0.05, scaled(skin, 0.85))
    for ear in (-1, 1):
        _oval(draw, side, 0.5 + ear * wide, 0.46, 0.035, 0.06, scaled(skin, 0.92))
    _oval(draw, side, 0.5, 0.45, wide, 0.29, skin)
    _hair(draw, rng, side, wide, hair, long_hair)
    _features(draw, rng, side, wide, skin, hair)
    return _shaded(figure, light)


def _skin(rng: Rng) -> Colour:
    """From pale to dark: deeper tones are more saturated."""
    depth = rng.uniform(0, 1)
    return from_hsv(rng.uniform(0.045, 0.08), 0.22 + 0.4 * depth + rng.normal(0, 0.03), 1 - 0.4 * depth)


def _oval(draw: ImageDraw.ImageDraw, side: int, x: float, y: float, a: float, b: float, colour: Colour) -> None:
    draw.ellipse(((x - a) * side, (y - b) * side, (x + a) * side, (y + b) * side), fill=colour)


def _hair(draw: ImageDraw.ImageDraw, rng: Rng, side: int, wide: float, colour: Colour, long_hair: bool) -> None:
    if not long_hair and rng.random() < 0.12:
        return
    top, reach = 0.15, wide * 1.12
    draw.chord(
        ((0.5 - reach) * side, (top - 0.03) * side, (0.5 + reach) * side, 0.62 * side),
        rng.uniform(178, 196), rng.uniform(344, 362), fill=colour,
    )  # fmt: skip
    for x in np.linspace(-1, 1, int(rng.integers(4, 9))):
        _oval(draw, side, 0.5 + x * wide * 0.8, 0.24 + 0.07 * x * x, 0.08, 0.07, scaled(colour, rng.uniform(0.9, 1.1)))


def _features(draw: ImageDraw.ImageDraw, rng: Rng, side: int, wide: float, skin: Colour, hair: Colour) -> None:
    iris = from_hsv(rng.choice([0.07, 0.58, 0.3]), rng.uniform(0.3, 0.7), rng.uniform(0.2, 0.7))
    gap, look = wide * 0.46, rng.uniform(-0.008, 0.008)
    glasses = rng.random() < 0.25
    for eye in (-1, 1):
        x = 0.5 + eye * gap
        _oval(draw, side, x, 0.44, 0.045, rng.uniform(0.02, 0.028), (248, 248, 246))
        _oval(draw, side, x + look, 0.44, 0.021, 0.021, iris)
        _oval(draw, side, x + look, 0.44, 0.01, 0.01, (15, 12, 12))
        _oval(draw, side, x + look + 0.006, 0.434, 0.004, 0.004, (255, 255, 255))
        brow = ((x - 0.05) * side, 0.375 * side, (x + 0.05) * side, 0.42 * side)
        draw.arc(brow, 200, 340, fill=scaled(hair, 0.8), width=max(2, side // 55))
        if glasses:
            frame = ((x - 0.07) * side, 0.385 * side, (x + 0.07) * side, 0.495 * side)
            draw.ellipse(frame, outline=(30, 30, 34), width=max(2, side // 90))
    nose = ((0.485 * side, 0.45 * side), (0.47 * side, 0.55 * side), (0.515 * side, 0.555 * side))
    draw.line(nose, fill=scaled(skin, 0.68), width=max(2, side // 90), joint="curve")
    for cheek in (-1, 1):
        _oval(draw, side, 0.5 + cheek * wide * 0.55, 0.55, 0.035, 0.022, scaled(skin, 0.93))
    _mouth(draw, rng, side, skin)


def _mouth(draw: ImageDraw.ImageDraw, rng: Rng, side: int, skin: Colour) -> None:
    lips = (min(255, round(skin[0] * 0.85)), round(skin[1] * 0.5), round(skin[2] * 0.5))
    width = rng.uniform(0.06, 0.1)
    box = ((0.5 - width) * side, 0.575 * side, (0.5 + width) * side, 0.665 * side)
    if rng.random() < 0.5:
        draw.chord(box, 10, 170, fill=(250, 248, 244), outline=lips, width=max(2, side // 80))
    else:
        draw.arc(box, 20, 160, fill=lips, width=max(3, side // 55))


def _shaded(figure: Image.Image, light: Light) -> Image.Image:
    """Light from one side, and soft edges in place of the drawing's hard steps."""
    side = figure.width
    steps = np.linspace(-1, 1, side, dtype=np.float32)
    shade: Field = 0.9 + 0.14 * (steps[None, :] * light.x + steps[:, None] * light.y)
    pixels = np.asarray(figure.filter(ImageFilter.BoxBlur(max(0.6, side / 500))), np.float32).copy()
    pixels[..., :3] = (pixels[..., :3] * shade[..., None]).clip(0, 255)
    return Image.fromarray(pixels.astype(np.uint8), "RGBA")
