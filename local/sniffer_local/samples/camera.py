"""What a camera, an app and a file format do to a picture: light, blur, grain, size, rotation, encoding.

None of it looks at the class of the picture, so none of it tells the class.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from sniffer_local.samples.surface import Field, Rng, multiply, noise_field, pick, speckled

ASPECTS = (1.0, 4 / 3, 3 / 4, 3 / 2, 2 / 3, 16 / 9, 9 / 16)
SHORTEST_PX, LONG_SIDES_PX = 200, (320, 2000)
ORIENTATION_TAG = 0x0112

# How the upright picture must be stored for each EXIF orientation: the inverse of the turn that a viewer applies.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@dataclass(frozen=True, slots=True)
class Shot:
    """How one picture is to be taken and stored: size in pixels as seen upright, format, and variations."""

    width: int
    height: int
    format: str
    grey: bool
    alpha: bool
    orientation: int

    @property
    def suffix(self) -> str:
        """The file name's usual end for the format."""
        return {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}[self.format]

    @property
    def canvas_size(self) -> tuple[int, int]:
        """The size to draw at: fine enough for the final one, bounded so that large pictures stay quick."""
        scale = float(np.clip(1.25 * max(self.width, self.height), 480, 800)) / max(self.width, self.height)
        return max(64, round(self.width * scale)), max(64, round(self.height * scale))


def some_shot(rng: Rng, long_sides_px: tuple[int, int] = LONG_SIDES_PX) -> Shot:
    """Long sides in that range, mostly JPEG; one in ten grey, some with alpha, some turned by EXIF.

    Only JPEGs are longer than 1,000 pixels, unless the range begins there.
    """
    format = ("JPEG", "PNG", "WEBP")[pick(rng, 70, 17, 13)]
    shortest, longest = long_sides_px
    longest = longest if format == "JPEG" else max(shortest, min(longest, 1000))
    long_side = float(np.exp(rng.uniform(np.log(shortest), np.log(longest))))
    aspect = float(rng.choice(ASPECTS))
    width = max(SHORTEST_PX, round(long_side * min(1.0, aspect)))
    height = max(SHORTEST_PX, round(long_side / max(1.0, aspect)))
    grey = rng.random() < 0.1
    alpha = format != "JPEG" and rng.random() < 0.35
    orientation = int(rng.choice([3, 6, 8, 6, 8, 2, 4, 5, 7])) if rng.random() < 0.2 else 1
    return Shot(width, height, format, grey, alpha, orientation)


def develop(picture: Image.Image, rng: Rng, shot: Shot) -> bytes:
    """The encoded file of a drawn picture; a pure function of its arguments and the generator's state."""
    picture = _graded(_unevenly_lit(picture, rng), rng)
    if rng.random() < 0.35:
        picture = picture.filter(ImageFilter.BoxBlur(rng.uniform(0.4, 2.4)))
    if rng.random() < 0.55:
        picture = _grainy(picture, rng)
    picture = picture.resize((shot.width, shot.height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    if shot.grey:
        picture = picture.convert("L")
    if shot.alpha:
        picture.putalpha(_transparency(rng, picture.size))
    turn = STORED.get(shot.orientation)
    return _encoded(picture if turn is None else picture.transpose(turn), rng, shot)


def _unevenly_lit(picture: Image.Image, rng: Rng) -> Image.Image:
    """A window on one side, a vignette, or a shadow across."""
    kind = pick(rng, 3, 3, 2, 2)
    if kind == 0:
        return picture
    across, down = np.meshgrid(np.linspace(-1, 1, 32, dtype=np.float32), np.linspace(-1, 1, 32, dtype=np.float32))
    strength, angle = rng.uniform(0.1, 0.5), rng.uniform(0, 2 * np.pi)
    if kind == 1:
        shade: Field = 1 - strength * (0.5 + 0.5 * (across * np.cos(angle) + down * np.sin(angle)))
    elif kind == 2:
        shade = 1 - strength * np.clip(np.hypot(across, down) - 0.4, 0, 1)
    else:
        shade = 1 - strength * (noise_field(rng, (32, 32), (4, 4)) > 0.55)
    multiply(picture, shade.astype(np.float32))
    return picture


def _graded(picture: Image.Image, rng: Rng) -> Image.Image:
    """Exposure, contrast and white balance."""
    levels = np.linspace(0, 1, 256)
    gamma, contrast = np.exp(rng.normal(0, 0.25)), np.exp(rng.normal(0, 0.15))
    tints = np.exp(rng.normal(0, 0.09, 3)) * np.exp(rng.normal(-0.03, 0.1))
    curve = (levels**gamma - 0.5) * contrast + 0.5
    table = np.concatenate([(curve * tint).clip(0, 1) * 255 for tint in tints])
    return picture.point([round(value) for value in table])


def _grainy(picture: Image.Image, rng: Rng) -> Image.Image:
    grain = speckled(rng, picture.size, rng.uniform(2, 14))
    return Image.fromarray((np.asarray(picture, np.float32) + grain[..., None]).clip(0, 255).astype(np.uint8))


def _transparency(rng: Rng, size: tuple[int, int]) -> Image.Image:
    """Opaque all over, or with edges that fade."""
    if rng.random() < 0.4:
        return Image.new("L", size, 255)
    across, down = np.meshgrid(np.linspace(-1, 1, size[0]), np.linspace(-1, 1, size[1]))
    power = rng.choice([2, 8])
    edge = (np.abs(across) ** power + np.abs(down) ** power) ** (1 / power)
    alpha = np.clip((rng.uniform(0.95, 1.15) - edge) * rng.uniform(4, 40), 0, 1)
    return Image.fromarray((alpha * 255).astype(np.uint8))


def _encoded(picture: Image.Image, rng: Rng, shot: Shot) -> bytes:
    options: dict[str, object] = {}
    if shot.format == "JPEG":
        options = {
            "quality": int(rng.integers(40, 96)),
            "subsampling": int(rng.choice([0, 2, 2])),
            "progressive": bool(rng.random() < 0.15),
        }
    elif shot.format == "WEBP":
        options = {"quality": int(rng.integers(40, 96)), "method": 1}
    else:
        options = {"compress_level": int(rng.integers(1, 5))}
    if shot.orientation != 1:
        exif = Image.Exif()
        exif[ORIENTATION_TAG] = shot.orientation
        options["exif"] = exif.tobytes()
    file = io.BytesIO()
    picture.save(file, shot.format, **options)
    return file.getvalue()
