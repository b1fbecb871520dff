"""Pictures of the class `drugs`: pills strewn close together, and blister packs. No real brand.

They are drawn to be told apart, not to be typical: small, glossy, alike things cover most of the picture, whatever it
is set in. Real pictures of drugs show one bag on a table as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from sniffer_local.samples.surface import (
    Colour,
    Field,
    Light,
    Rng,
    box_distance,
    from_hsv,
    grid,
    lit,
    mixed,
    noise_field,
    paint,
    painted,
    pick,
    place,
    rounded_height,
    scaled,
    scatter,
    some_colour,
    speckled,
    text_mask,
    turned,
)

IMPRINTS = ("10", "20", "5", "M", "A 7", "L", "54", "3", "IP", "80", "X", "T 2", "V", "500")


@dataclass(frozen=True, slots=True)
class PillKind:
    """What all pills of one sort share: form, two colours, imprint, and size in pixels."""

    capsule: bool
    length: float
    width: float
    colours: tuple[Colour, Colour]
    imprint: str
    scored: bool


def pill_colour(rng: Rng) -> Colour:
    """White to grey about half of the time, else one of the soft or strong colours that tablets are dyed in."""
    if rng.random() < 0.45:
        return from_hsv(rng.uniform(0.08, 0.16), rng.uniform(0, 0.1), rng.uniform(0.7, 1))
    return some_colour(rng, (0.25, 0.85), (0.5, 1))


def some_kind(rng: Rng, size: float) -> PillKind:
    """A sort of pill about `size` pixels long: round or oval tablet, or a capsule of two halves."""
    form = pick(rng, 4, 2, 4)
    width = size * (1.0, 0.6, 0.38)[form]
    first = pill_colour(rng)
    second = pill_colour(rng) if form == 2 else first
    imprint = str(rng.choice(IMPRINTS)) if rng.random() < 0.5 else ""
    return PillKind(form == 2, size, width, (first, second), imprint, form < 2 and rng.random() < 0.5)


def pill(kind: PillKind, angle: float, light: Light) -> Image.Image:
    """One pill of that kind as a lit sprite, turned by `angle` radians."""
    side = int(kind.length) + 8
    u, v = grid(side, angle)
    distance = box_distance(u, v, kind.length / 2, kind.width / 2, kind.width / 2)
    albedo = painted(u.shape, kind.colours[0])
    height = _capsule_body(kind, u, distance, albedo) if kind.capsule else _tablet_body(kind, u, v, distance)
    if kind.imprint:
        mark = text_mask(kind.imprint, int(kind.width * 0.42), side, -float(np.degrees(angle)))
        dark = sum(kind.colours[0]) < 330
        paint(albedo, mark * 0.45, scaled(kind.colours[0], 1.8 if dark else 0.35))
        height = height - mark * (0.0 if kind.capsule else 1.2)
    return lit(albedo, height, distance, light)


def _capsule_body(kind: PillKind, u: Field, distance: Field, albedo: Field) -> Field:
    radius = kind.width / 2
    paint(albedo, np.clip(u + 0.5, 0, 1), kind.colours[1])
    # The cap slides over the body: its rim shows as a dark line.
    paint(albedo, np.exp(-((u / (0.035 * kind.length)) ** 2)) * 0.35, scaled(kind.colours[1], 0.5))
    inside = np.clip(-distance, 0, radius)
    height: Field = np.sqrt(np.clip(radius**2 - (radius - inside) ** 2, 0, None))
    return height


def _tablet_body(kind: PillKind, u: Field, v: Field, distance: Field) -> Field:
    height: Field = rounded_height(distance, max(3.0, kind.width * 0.13))
    height = height + kind.width * 0.05 * np.sqrt(np.clip(-distance / kind.width * 2, 0, 1))
    if kind.scored:
        groove = np.exp(-((u / max(1.5, 0.03 * kind.length)) ** 2)) * (np.abs(v) < kind.width / 2)
        height = height - groove * max(1.6, kind.width * 0.05)
    return height


def draw_pills(canvas: Image.Image, rng: Rng, light: Light) -> None:
    """Many pills, one to three sorts, strewn close together over most of the canvas."""
    strew(canvas, rng, light, mean_side(canvas) * rng.uniform(0.09, 0.16), rng.uniform(0.6, 0.95))


def mean_side(canvas: Image.Image) -> float:
    """The side in pixels of a square as large as the canvas: what the size of things is measured by."""
    return float((canvas.width * canvas.height) ** 0.5)


def strew(canvas: Image.Image, rng: Rng, light: Light, size: float, share: float) -> None:
    """Pills about `size` pixels long, one to three sorts, side by side over about that share of the canvas."""
    kinds = [some_kind(rng, size * rng.uniform(0.85, 1.15)) for _ in range(1 + pick(rng, 5, 3, 2))]
    sprites = [pill(kinds[int(rng.integers(len(kinds)))], rng.uniform(0, 2 * np.pi), light) for _ in range(9)]
    for spot in close_together(rng, canvas.size, size * 0.95, share):
        place(canvas, sprites[int(rng.integers(len(sprites)))], spot, light, size * 0.18)


def close_together(rng: Rng, size: tuple[int, int], step: float, share: float) -> list[tuple[float, float]]:
    """Points of a shaken lattice of that step in pixels, on about that share of the canvas, in any order."""
    columns, rows = max(2, round(size[0] / step)), max(2, round(size[1] / step))
    across, down = np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5)
    field = noise_field(rng, (columns, rows), (3, 3))
    here = field <= np.quantile(field, share)
    spots = np.stack([across[here] / columns * size[0], down[here] / rows * size[1]], axis=1)
    spots = rng.permutation(spots + rng.normal(0, step * 0.16, spots.shape))
    return [(float(x), float(y)) for x, y in spots]


def draw_blister(canvas: Image.Image, rng: Rng, light: Light) -> None:
    """Four to six blister packs of one product, full or partly used, over most of the canvas."""
    kind_seed = int(rng.integers(1 << 30))
    side = mean_side(canvas)
    for centre in scatter(rng, canvas.size, int(rng.integers(4, 7)), side * 0.33):
        # All packs are of the same product.
        pack = _blister_pack(np.random.default_rng(kind_seed), rng, side, light)
        place(canvas, turned(pack, rng.uniform(0, 360)), centre, light, 7)


def _blister_pack(product: Rng, rng: Rng, side: float, light: Light) -> Image.Image:
    columns, rows = int(product.integers(4, 7)), int(product.integers(3, 5))
    cell = side * product.uniform(0.1, 0.15)
    kind = some_kind(product, cell * product.uniform(0.68, 0.8))
    size = int(cell * (columns + 0.5)), int(cell * (rows + 0.5))
    foil = from_hsv(product.uniform(), product.choice([0.03, 0.08, 0.35]), product.uniform(0.45, 0.75))
    pack = _foil(rng, size, foil)
    angle = product.choice([0.0, np.pi / 2, 0.6])
    full, empty = _pocket(kind, angle, cell, light, foil), _empty_pocket(rng, cell, foil)
    used = product.choice([0.0, 0.0, 0.35])
    for row in range(rows):
        for column in range(columns):
            centre = (column + 0.75) * cell, (row + 0.75) * cell
            place(pack, empty if rng.random() < used else full, centre, light)
    outline = Image.new("L", size)
    ImageDraw.Draw(outline).rounded_rectangle((1, 1, size[0] - 2, size[1] - 2), cell * 0.25, fill=255)
    pack.putalpha(outline)
    return pack


def _foil(rng: Rng, size: tuple[int, int], colour: Colour) -> Image.Image:
    sheen = noise_field(rng, size, (5, 3)) * 0.8 + speckled(rng, size, 0.06)
    foil = mixed(scaled(colour, 0.78), scaled(colour, 1.22), sheen)
    draw = ImageDraw.Draw(foil)
    step = max(5, size[1] // 30)
    for offset in range(-size[1], size[0], step):
        draw.line((offset, 0, offset + size[1], size[1]), fill=scaled(colour, 0.93))
        draw.line((offset + size[1], 0, offset, size[1]), fill=scaled(colour, 1.08))
    return foil


def _pocket(kind: PillKind, angle: float, cell: float, light: Light, foil: Colour) -> Image.Image:
    """A pill under a clear dome that shines."""
    side = int(cell * 0.98)
    u, v = grid(side, angle)
    distance = np.hypot(u, v) - cell * 0.46
    dome = rounded_height(distance, cell * 0.25)
    pocket = lit(painted(u.shape, scaled(foil, 1.05)), dome, distance, light, 0.8)
    inner = pill(kind, angle, light)
    place(pocket, inner, (side / 2, side / 2), light, 3)
    glass = np.asarray(lit(painted(u.shape, (0, 0, 0)), dome, distance + 1.5, light, 1.0), np.float32)
    rim = np.exp(-(((distance + 2) / 2.2) ** 2)) * 0.35
    shine = np.clip(glass[..., 0] / 255 * 0.9 + rim, 0, 1)
    highlight = Image.fromarray((shine * 255).astype(np.uint8))
    alpha = pocket.getchannel("A")
    pocket.paste((255, 255, 255), (0, 0), highlight)
    pocket.putalpha(alpha)
    return pocket


def _empty_pocket(rng: Rng, cell: float, foil: Colour) -> Image.Image:
    side = int(cell * 0.98)
    hole = Image.new("RGBA", (side, side))
    corners = [
        (
            side / 2 + np.cos(turn) * side * rng.uniform(0.2, 0.42),
            side / 2 + np.sin(turn) * side * rng.uniform(0.2, 0.42),
        )
        for turn in np.linspace(0, 2 * np.pi, 11)[:-1]
    ]
    ImageDraw.Draw(hole).polygon(corners, fill=scaled(foil, 0.35), outline=scaled(foil, 1.3), width=2)
    return hole.filter(ImageFilter.BoxBlur(0.6))
