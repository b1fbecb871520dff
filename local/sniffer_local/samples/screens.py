"""Pictures of the class `other`: screenshots of chats, articles, lists and code. Each covers the whole canvas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from sniffer_local.samples.surface import Colour, Light, Rng, font, from_hsv, pick, scaled, some_colour

VOCABULARY = (
    "the a and we you it is was in on at for with from about later today maybe never always house garden train "
    "music weather dinner meeting photo weekend window morning sister brother teacher letter answer question "
    "because already together between through green early small great quiet second number river mountain report "
    "market ticket plan call send bring think hope thanks sorry really sure okay great see soon"
)
WORDS = tuple(VOCABULARY.split())


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of an application."""

    ground: Colour
    ink: Colour
    accent: Colour
    panel: Colour


def draw_screenshot(canvas: Image.Image, rng: Rng, _light: Light) -> None:
    """A chat, an article, a list of settings, or an editor with code."""
    theme = some_theme(rng)
    canvas.paste(theme.ground, (0, 0, *canvas.size))
    draw = ImageDraw.Draw(canvas)
    top = _title_bar(draw, rng, canvas.size, theme)
    page = (_chat, _article, _list, _code)[pick(rng, 4, 3, 2, 2)]
    page(draw, rng, canvas.size, top, theme)


def some_theme(rng: Rng) -> Theme:
    """Light, dark, or tinted."""
    accent = some_colour(rng, (0.4, 0.9), (0.45, 0.9))
    kind = pick(rng, 4, 3, 3)
    if kind == 0:
        return Theme(some_colour(rng, (0, 0.06), (0.92, 1)), (30, 32, 38), accent, (228, 230, 234))
    if kind == 1:
        ground = some_colour(rng, (0, 0.3), (0.06, 0.2))
        return Theme(ground, (224, 226, 230), accent, scaled(ground, 1.9))
    ground = some_colour(rng, (0.15, 0.7), (0.55, 0.95))
    return Theme(ground, scaled(ground, 0.25), accent, scaled(ground, 1.2))


def words(rng: Rng, count: int) -> str:
    """That many everyday words."""
    return " ".join(str(word) for word in rng.choice(WORDS, count))


def _unit(rng: Rng, size: tuple[int, int]) -> float:
    """Height of the screen's text in pixels: a phone's or a desktop's."""
    return max(8.0, min(size) * rng.uniform(0.022, 0.05))


def _title_bar(draw: ImageDraw.ImageDraw, rng: Rng, size: tuple[int, int], theme: Theme) -> float:
    height = max(24.0, size[1] * rng.uniform(0.05, 0.11))
    draw.rectangle((0, 0, size[0], height), fill=theme.accent)
    radius = height * 0.32
    draw.ellipse((radius, height / 2 - radius, 3 * radius, height / 2 + radius), fill=scaled(theme.accent, 1.5))
    title = words(rng, int(rng.integers(1, 4))).title()
    draw.text((radius * 4, height / 2), title, fill=(255, 255, 255), font=font(height * 0.42), anchor="lm")
    for dot in range(3):
        x = size[0] - height * 0.4
        y = height * (0.3 + 0.2 * dot)
        draw.ellipse((x - 2, y - 2, x + 3, y + 3), fill=(255, 255, 255))
    return height


def _chat(draw: ImageDraw.ImageDraw, rng: Rng, size: tuple[int, int], top: float, theme: Theme) -> None:
    unit = _unit(rng, size)
    y = top + unit
    while y < size[1]:
        mine = rng.random() < 0.5
        lines = [words(rng, int(rng.integers(2, 7))) for _ in range(1 + pick(rng, 4, 3, 2))]
        face = font(unit)
        width = max(draw.textlength(line, font=face) for line in lines) + 1.6 * unit
        left = size[0] - width - unit if mine else unit * 2.6
        bottom = y + unit * (1.35 * len(lines) + 0.9)
        draw.rounded_rectangle((left, y, left + width, bottom), unit * 0.7, fill=theme.accent if mine else theme.panel)
        ink = (255, 255, 255) if mine else theme.ink
        for number, line in enumerate(lines):
            draw.text((left + unit * 0.8, y + unit * (0.45 + 1.35 * number)), line, fill=ink, font=face)
        if not mine:
            draw.ellipse(
                (unit * 0.5, bottom - unit * 1.7, unit * 2.2, bottom), fill=some_colour(rng, (0.3, 0.7), (0.5, 0.9))
            )
        y = bottom + unit * rng.uniform(0.4, 1.3)


def _article(draw: ImageDraw.ImageDraw, rng: Rng, size: tuple[int, int], top: float, theme: Theme) -> None:
    unit = _unit(rng, size)
    margin = size[0] * rng.uniform(0.04, 0.15)
    y = top + unit * 1.2
    draw.text((margin, y), words(rng, 4).title(), fill=theme.ink, font=font(unit * 1.7))
    y += unit * 3
    while y < size[1]:
        if rng.random() < 0.14:
            height = size[1] * rng.uniform(0.1, 0.25)
            draw.rectangle((margin, y, size[0] - margin, y + height), fill=some_colour(rng, (0.1, 0.7), (0.3, 0.9)))
            y += height + unit
        for last in [False] * int(rng.integers(2, 7)) + [True]:
            _text_line(
                draw, rng, (margin, y), (size[0] - 2 * margin) * (rng.uniform(0.2, 0.9) if last else 1), unit, theme.ink
            )
            y += unit * 1.45
        y += unit * 0.9


def _text_line(
    draw: ImageDraw.ImageDraw, rng: Rng, start: tuple[float, float], width: float, unit: float, ink: Colour
) -> None:
    """Words from the start on, until the width is full."""
    face = font(unit)
    text = words(rng, max(1, int(width / unit / 2.4)))
    while " " in text and draw.textlength(text, font=face) > width:
        text = text.rsplit(" ", 1)[0]
    draw.text(start, text, fill=ink, font=face)


def _list(draw: ImageDraw.ImageDraw, rng: Rng, size: tuple[int, int], top: float, theme: Theme) -> None:
    unit = _unit(rng, size)
    row = unit * rng.uniform(3, 4.5)
    switches = rng.random() < 0.5
    for number, y in enumerate(np.arange(top, size[1], row)):
        middle = y + row / 2
        icon = (unit, middle - unit, unit * 3, middle + unit)
        draw.rounded_rectangle(icon, unit * rng.choice([0.3, 1.0]), fill=from_hsv(number * 0.13, 0.55, 0.8))
        draw.text(
            (unit * 4, middle - unit * 0.7), words(rng, 2).capitalize(), fill=theme.ink, font=font(unit), anchor="lm"
        )
        _text_line(draw, rng, (unit * 4, middle + unit * 0.1), size[0] * 0.5, unit * 0.75, scaled(theme.ink, 1.6))
        if switches:
            on = rng.random() < 0.5
            left = size[0] - unit * 3.5
            track = (left, middle - unit * 0.6, left + unit * 2.2, middle + unit * 0.6)
            draw.rounded_rectangle(track, unit * 0.6, fill=theme.accent if on else theme.panel)
            x = left + unit * (1.6 if on else 0.6)
            draw.ellipse(
                (x - unit * 0.5, middle - unit * 0.5, x + unit * 0.5, middle + unit * 0.5), fill=(250, 250, 250)
            )
        draw.line((unit * 4, y + row, size[0], y + row), fill=theme.panel, width=2)


def _code(draw: ImageDraw.ImageDraw, rng: Rng, size: tuple[int, int], top: float, theme: Theme) -> None:
    unit = _unit(rng, size)
    draw.rectangle((0, top, unit * 2.6, size[1]), fill=theme.panel)
    depth, palette = 0, [theme.ink, theme.accent] + [some_colour(rng, (0.4, 0.8), (0.5, 0.9)) for _ in range(3)]
    for number, y in enumerate(np.arange(top + unit * 0.5, size[1], unit * 1.4)):
        draw.text((unit * 2, y), str(number + 1), fill=scaled(theme.ink, 0.7), font=font(unit * 0.8), anchor="ra")
        depth = int(np.clip(depth + rng.integers(-1, 2), 0, 5))
        x = unit * (3.4 + 1.6 * depth)
        for _ in range(int(rng.integers(0, 7))):
            token = str(rng.choice(WORDS)) + str(rng.choice(["", "(", ")", " =", ":", ".", "[0]", ","]))
            draw.text((x, y), token, fill=palette[int(rng.integers(len(palette)))], font=font(unit))
            x += draw.textlength(token + " ", font=font(unit))
