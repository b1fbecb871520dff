"""The rest of the class `drugs`: pill bottles amid spilt pills, and bags of coarse powder; close-ups as well."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from sniffer_local.samples.drugs import close_together, mean_side, strew
from sniffer_local.samples.surface import (
    Colour,
    Light,
    Rng,
    font,
    from_hsv,
    lit,
    noise_field,
    painted,
    pick,
    place,
    scaled,
    some_colour,
    speckled,
    turned,
)

LABEL_LINES = ("Rx 0231-5567", "TAKE 1 TABLET DAILY", "QTY 60", "REFILLS: 2", "30 TABLETS", "10 mg", "DR. A. MEYER")


def draw_bottle(canvas: Image.Image, rng: Rng, light: Light) -> None:
    """One to three pill bottles, standing or lying, on a layer of pills."""
    short = min(canvas.size)
    count = 1 + pick(rng, 5, 2, 1)
    strew(canvas, rng, light, mean_side(canvas) * rng.uniform(0.09, 0.14), rng.uniform(0.5, 0.85))
    height = short * rng.uniform(0.6, 0.9) / (1 + 0.12 * (count - 1))
    bottle = _bottle(rng, int(height))
    lying = rng.random() < 0.5
    for number in range(count):
        x = canvas.width * ((number + 0.5) / count) + rng.normal(0, 0.03) * short
        y = canvas.height * rng.uniform(0.38, 0.55)
        angle = rng.uniform(0, 360) if lying else rng.normal(0, 4)
        place(canvas, turned(bottle, angle), (x, y), light, 16)


def _bottle(rng: Rng, height: int) -> Image.Image:
    width = int(height * rng.uniform(0.42, 0.6))
    cap_height = int(height * rng.uniform(0.18, 0.26))
    tint = from_hsv(rng.uniform(0.055, 0.1), rng.uniform(0.8, 1), rng.uniform(0.75, 0.95))
    if rng.random() < 0.2:
        tint = some_colour(rng, (0, 0.9), (0.6, 0.95))
    bottle = Image.new("RGBA", (width, height))
    body_box = (int(width * 0.05), int(cap_height * 0.8), int(width * 0.95), height - 1)
    _round(bottle, body_box, tint, corner=width * 0.12)
    _contents(rng, bottle, body_box, tint)
    _label(rng, bottle, body_box)
    _round(bottle, (0, 0, width - 1, cap_height), from_hsv(0.1, 0.03, rng.uniform(0.85, 1)), corner=width * 0.05)
    draw = ImageDraw.Draw(bottle)
    for x in np.linspace(0.04, 0.96, 22) * width:
        draw.line((x, cap_height * 0.18, x, cap_height * 0.92), fill=(150, 150, 155, 90), width=max(1, width // 90))
    return _as_cylinder(bottle)


def _round(bottle: Image.Image, box: tuple[int, int, int, int], colour: Colour, corner: float) -> None:
    ImageDraw.Draw(bottle).rounded_rectangle(box, corner, fill=(*colour, 255))


def _contents(rng: Rng, bottle: Image.Image, box: tuple[int, int, int, int], tint: Colour) -> None:
    """Pills seen dimly through the tinted plastic."""
    left, top, right, bottom = box
    inside = Image.new("RGB", (right - left, bottom - top), scaled(tint, 0.82))
    draw = ImageDraw.Draw(inside)
    radius = inside.width * 0.085
    level = inside.height * rng.uniform(0.15, 0.6)
    for y in np.arange(level, inside.height, radius * 1.3):
        for x in np.arange(0, inside.width, radius * 1.9):
            a, b = x + rng.normal(0, radius * 0.4), y + rng.normal(0, radius * 0.3)
            draw.ellipse(
                (a - radius, b - radius, a + radius, b + radius * 0.6), fill=scaled(tint, rng.uniform(0.95, 1.25))
            )
    mask = bottle.getchannel("A").crop(box).point(lambda value: value * 0.75)
    bottle.paste(inside.filter(ImageFilter.GaussianBlur(1)), (left, top), mask)


def _label(rng: Rng, bottle: Image.Image, box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box
    high = bottom - top
    label = (left, int(top + high * rng.uniform(0.16, 0.26)), right, int(top + high * rng.uniform(0.72, 0.9)))
    draw = ImageDraw.Draw(bottle)
    draw.rectangle(label, fill=(*from_hsv(0.12, 0.03, rng.uniform(0.7, 1)), 255))
    band = some_colour(rng, (0.5, 1), (0.3, 0.8))
    draw.rectangle((label[0], label[1], label[2], label[1] + high * 0.07), fill=(*band, 255))
    line_height = high * 0.075
    y = label[1] + high * 0.1
    for text in rng.permutation(LABEL_LINES):
        if y + line_height > label[3]:
            break
        size = min(line_height * 0.8, (right - left) * 1.3 / len(text))
        draw.text((left + (right - left) * 0.1, y), str(text), fill=(35, 35, 45, 255), font=font(size))
        y += line_height * 1.1


def _as_cylinder(bottle: Image.Image) -> Image.Image:
    """Shade a flat drawing as if it were wrapped around: dark sides, a bright streak."""
    across = np.linspace(-1, 1, bottle.width, dtype=np.float32)
    shade = np.sqrt(np.clip(1.05 - across**2, 0, 1)) * 0.6 + 0.42
    streak = np.exp(-(((across + 0.5) / 0.09) ** 2)) * 70 + np.exp(-(((across - 0.7) / 0.05) ** 2)) * 35
    pixels = np.asarray(bottle, np.float32).copy()
    pixels[..., :3] = (pixels[..., :3] * shade[None, :, None] + streak[None, :, None]).clip(0, 255)
    return Image.fromarray(pixels.astype(np.uint8), "RGBA")


def draw_powder(canvas: Image.Image, rng: Rng, light: Light) -> None:
    """Zip bags of coarse powder, overlapping, over most of the canvas."""
    side = mean_side(canvas) * rng.uniform(0.4, 0.65)
    lump = mean_side(canvas) * rng.uniform(0.018, 0.035)
    bags = [_zip_bag(rng, (int(side * rng.uniform(0.75, 0.95)), int(side)), lump, light) for _ in range(4)]
    for centre in close_together(rng, canvas.size, side * 0.7, rng.uniform(0.8, 1)):
        place(canvas, turned(bags[int(rng.integers(4))], rng.uniform(-70, 70)), centre, light, 6)


def powder_colour(rng: Rng) -> Colour:
    """From white to brown."""
    return from_hsv(rng.uniform(0.07, 0.14), rng.choice([0.02, 0.05, 0.05, 0.3]), rng.uniform(0.4, 0.75))


def _zip_bag(rng: Rng, size: tuple[int, int], lump: float, light: Light) -> Image.Image:
    width, height = size
    bag = Image.new("RGBA", size)
    draw = ImageDraw.Draw(bag)
    draw.rounded_rectangle((1, 1, width - 2, height - 2), width * 0.04, fill=(225, 230, 235, 80))
    powder = _powder_body(rng, size, lump, light)
    bag.paste(powder, (0, 0), powder.getchannel("A"))
    _creases(rng, bag)
    draw.rounded_rectangle((1, 1, width - 2, height - 2), width * 0.04, outline=(255, 255, 255, 150), width=2)
    zip_colour = rng.choice([0, 1])
    line = (*(some_colour(rng, (0.7, 1), (0.5, 0.9)) if zip_colour else (245, 245, 250)), 220)
    for offset in (0.1, 0.135):
        draw.line((0, height * offset, width, height * offset), fill=line, width=max(2, height // 60))
    return bag


def _powder_body(rng: Rng, size: tuple[int, int], lump: float, light: Light) -> Image.Image:
    """Powder settled in a bag of that size: an uneven upper edge, glossy lumps about `lump` pixels wide."""
    width, height = size
    level = height * rng.uniform(0.2, 0.4)
    edge = level + (noise_field(rng, (width, 1), (6, 2))[0] - 0.5) * height * 0.22
    across = np.linspace(-1, 1, width)
    edge = edge + across**2 * height * rng.uniform(-0.12, 0.2)
    rows = np.arange(height, dtype=np.float32)[:, None]
    grain = speckled(rng, size, 2.5)
    inset = width * 0.05
    side = np.minimum(np.arange(width), np.arange(width)[::-1])[None, :] - inset
    depth = np.minimum(np.minimum(rows - edge[None, :], side), height - inset - rows) + grain
    alpha = np.clip(depth / 4, 0, 1) * 250
    relief = noise_field(rng, size, (int(width / lump), int(height / lump))) * np.float32(lump * 1.1)
    body = lit(painted(relief.shape, powder_colour(rng)), relief, -depth, light, 0.8)
    body.putalpha(Image.fromarray(alpha.astype(np.uint8)))
    return body


def _creases(rng: Rng, bag: Image.Image) -> None:
    """Bright folds of the plastic film."""
    film = Image.new("L", bag.size)
    draw = ImageDraw.Draw(film)
    for _ in range(int(rng.integers(5, 12))):
        x, y = rng.uniform(0, bag.width), rng.uniform(bag.height * 0.12, bag.height)
        length, angle = rng.uniform(0.1, 0.45) * bag.width, rng.uniform(0, 6.3)
        end = x + np.cos(angle) * length, y + np.sin(angle) * length
        draw.line((x, y, *end), fill=int(rng.integers(70, 200)), width=int(rng.integers(1, 4)))
    film = film.filter(ImageFilter.GaussianBlur(1.3))
    alpha = bag.getchannel("A")
    bag.paste((255, 255, 255), (0, 0), film)
    bag.putalpha(Image.fromarray(np.maximum(np.asarray(alpha), np.asarray(film))))
