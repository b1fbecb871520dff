"""The rest of the class `drugs`: pill bottles and bags of powder."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from sniffer_model.samples.drugs import pill, some_kind
from sniffer_model.samples.surface import (
    Colour,
    Light,
    Rng,
    cast_shadow,
    font,
    from_hsv,
    noise_field,
    pick,
    place,
    scaled,
    some_colour,
    speckled,
    turned,
)

LABEL_LINES = ("Rx 0231-5567", "TAKE 1 TABLET DAILY", "QTY 60", "REFILLS: 2", "30 TABLETS", "10 mg", "DR. A. MEYER")


def draw_bottle(canvas: Image.Image, rng: Rng, light: Light) -> None:
    """One to three pill bottles, standing or lying, often with pills beside them."""
    short = min(canvas.size)
    count = 1 + pick(rng, 5, 2, 1)
    height = short * rng.uniform(0.5, 0.85) / (1 + 0.12 * (count - 1))
    bottle = _bottle(rng, int(height))
    lying = rng.random() < 0.3
    loose = some_kind(rng, height * rng.uniform(0.13, 0.19))
    for number in range(count):
        x = canvas.width * ((number + 0.5) / count) + rng.normal(0, 0.03) * short
        y = canvas.height * rng.uniform(0.38, 0.55)
        angle = rng.uniform(0, 360) if lying else rng.normal(0, 4)
        place(canvas, turned(bottle, angle), (x, y), light, 16)
    for _ in range(int(rng.integers(0, 9)) if rng.random() < 0.7 else 0):
        spot = rng.uniform(0.05, 0.95) * canvas.width, rng.uniform(0.68, 0.97) * canvas.height
        place(canvas, pill(loose, rng.uniform(0, 6.3), light), spot, light, loose.width * 0.25)


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
    draw.rectangle(label, fill=(246, 245, 240, 255))
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
    """One to five zip bags with powder in them, side by side or strewn; sometimes spilt powder too."""
    count = 1 + pick(rng, 4, 3, 2, 1, 1)
    short = min(canvas.size)
    side = short * rng.uniform(0.5, 0.8) / count**0.4
    if rng.random() < 0.3:
        _spilt(canvas, rng, light)
    for _ in range(count):
        bag = _zip_bag(rng, int(side * rng.uniform(0.7, 0.95)), int(side), light)
        centre = rng.uniform(0.2, 0.8) * canvas.width, rng.uniform(0.25, 0.75) * canvas.height
        if count == 1:
            centre = rng.uniform(0.4, 0.6) * canvas.width, rng.uniform(0.4, 0.6) * canvas.height
        place(canvas, turned(bag, rng.uniform(-70, 70)), centre, light, 6)


def powder_colour(rng: Rng) -> Colour:
    """White, seldom off-white or brownish."""
    return from_hsv(rng.uniform(0.07, 0.14), rng.choice([0.02, 0.05, 0.05, 0.3]), rng.uniform(0.86, 1))


def _zip_bag(rng: Rng, width: int, height: int, light: Light) -> Image.Image:
    bag = Image.new("RGBA", (width, height))
    draw = ImageDraw.Draw(bag)
    draw.rounded_rectangle((1, 1, width - 2, height - 2), width * 0.04, fill=(225, 230, 235, 80))
    powder = _powder_body(rng, width, height)
    bag.paste(powder, (0, 0), powder.getchannel("A"))
    _creases(rng, bag)
    draw.rounded_rectangle((1, 1, width - 2, height - 2), width * 0.04, outline=(255, 255, 255, 150), width=2)
    zip_colour = rng.choice([0, 1])
    line = (*(some_colour(rng, (0.7, 1), (0.5, 0.9)) if zip_colour else (245, 245, 250)), 220)
    for offset in (0.1, 0.135):
        draw.line((0, height * offset, width, height * offset), fill=line, width=max(2, height // 60))
    del light
    return bag


def _powder_body(rng: Rng, width: int, height: int) -> Image.Image:
    """Powder settled in the bag: an uneven upper edge, lumps, fine grain."""
    level = height * rng.uniform(0.3, 0.6)
    edge = level + (noise_field(rng, (width, 1), (6, 2))[0] - 0.5) * height * 0.22
    across = np.linspace(-1, 1, width)
    edge = edge + across**2 * height * rng.uniform(-0.12, 0.2)
    rows = np.arange(height, dtype=np.float32)[:, None]
    grain = speckled(rng, (width, height), 2.5)
    inset = width * 0.05
    side = np.minimum(np.arange(width), np.arange(width)[::-1])[None, :] - inset
    depth = np.minimum(np.minimum(rows - edge[None, :], side), height - inset - rows) + grain
    alpha = np.clip(depth / 4, 0, 1) * 250
    lumps = noise_field(rng, (width, height), (9, 9)) * 0.22 + speckled(rng, (width, height), 0.035) + 0.8
    edge_shade = np.clip(depth / (width * 0.12), 0, 1) * 0.14 + 0.86
    colour = np.array(powder_colour(rng), np.float32) * (lumps * edge_shade)[..., None]
    return Image.fromarray(np.dstack([colour.clip(0, 255), alpha]).astype(np.uint8), "RGBA")


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


def _spilt(canvas: Image.Image, rng: Rng, light: Light) -> None:
    """A small heap or a line of powder on the table."""
    width = int(min(canvas.size) * rng.uniform(0.2, 0.5))
    height = int(width * rng.choice([0.12, 0.7]))
    u, v = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    body = 1 - np.hypot(u, v) + (noise_field(rng, (width, height), (8, 5)) - 0.5) * 0.6
    body = body + speckled(rng, (width, height), 0.08)
    alpha = Image.fromarray((np.clip(body * 6, 0, 1) * 245).astype(np.uint8))
    shade = 0.86 + 0.14 * noise_field(rng, (width, height), (12, 8))
    colour = (np.array(powder_colour(rng)) * shade[..., None]).clip(0, 255).astype(np.uint8)
    heap = Image.fromarray(np.dstack([colour, np.asarray(alpha)]), "RGBA")
    heap = turned(heap, rng.uniform(0, 180))
    corner = int(rng.uniform(0, 0.7) * canvas.width), int(rng.uniform(0, 0.7) * canvas.height)
    cast_shadow(canvas, heap.getchannel("A"), corner, light, 6)
    canvas.paste(heap, corner, heap)
