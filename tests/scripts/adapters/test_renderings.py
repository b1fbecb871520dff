"""What render makes of files that viewers show in one way, or in several."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image
from support.pictures import FORMATS, encode, half_transparent, picture
from support.png_files import apng, chunk, png, rows_of

from sniffer.adapters.images.render import Picture, decode, render

RED, GREEN, BLUE = (220, 0, 0), (0, 200, 0), (0, 0, 220)
ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")


def names(shown: Picture) -> list[str | None]:
    return [rendering.name for rendering in shown.renderings]


def means(shown: Picture) -> list[list[int]]:
    return [rendering.pixels.mean(axis=(0, 1)).round().astype(int).tolist() for rendering in shown.renderings]


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (300, 240)) -> Image.Image:
    return Image.new("RGB", size, colour)


def animation(format: str, colours: list[tuple[int, int, int]]) -> bytes:
    # Frames that are all alike would be merged by the encoder; a dot keeps them apart and is too small to be seen.
    frames = [plain(colour) for colour in colours]
    for number, frame in enumerate(frames):
        frame.paste((number, 255, 255), (number, 0, number + 2, 2))
    best: dict[str, dict[str, object]] = {"WEBP": {"lossless": True}, "AVIF": {"quality": 95}}
    return encode(frames[0], format, save_all=True, append_images=frames[1:], **best.get(format, {}))


def reds_in(shown: Picture) -> list[str | None]:
    return [r.name for r in shown.renderings if r.pixels[112, 112, 0] > 180 and r.pixels[112, 112, 2] < 60]


@pytest.mark.parametrize("format", FORMATS)
def test_an_ordinary_file_has_one_rendering_without_a_name(format: str) -> None:
    data = encode(picture(), format)
    shown = render(data)
    assert names(shown) == [None]
    assert not shown.partial
    assert np.array_equal(shown.renderings[0].pixels, decode(data))


@pytest.mark.parametrize("format", ANIMATED)
@pytest.mark.parametrize("index", [0, 3, 5, 7, 10])
def test_one_frame_unlike_all_others_is_among_the_renderings(format: str, index: int) -> None:
    colours = [BLUE] * 11
    colours[index] = RED
    shown = render(animation(format, colours))
    assert reds_in(shown) == [f"frame {index + 1}"]
    assert not shown.partial


@pytest.mark.parametrize("format", ANIMATED)
def test_first_middle_and_last_frame_are_rendered_in_order(format: str) -> None:
    shown = render(animation(format, [RED, RED, RED, GREEN, GREEN, BLUE, BLUE]))
    assert names(shown)[0] == "frame 1"
    assert len(shown.renderings) == 3
    for found, colour in zip(means(shown), (RED, GREEN, BLUE), strict=True):
        assert np.abs(np.array(found) - colour).max() < 12


@pytest.mark.parametrize("format", ANIMATED)
def test_an_animation_of_equal_frames_is_one_rendering(format: str) -> None:
    assert names(render(animation(format, [BLUE] * 9))) == [None]


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_too_long_for_the_limit_evenly_spread_frames_are_decoded(format: str) -> None:
    colours = [BLUE] * 60
    colours[59] = RED
    data = animation(format, colours)
    assert reds_in(render(data, max_pixels=5 * 300 * 240)) == ["frame 60"]
    assert names(render(data, max_pixels=300 * 240)) == [None]


def test_the_default_image_of_an_animation_is_not_what_viewers_show() -> None:
    shown = render(apng(plain(GREEN), [plain(RED), plain(BLUE)], default_is_shown=False))
    assert means(shown) == [list(RED), list(BLUE)]
    assert names(shown) == ["frame 1", "frame 2"]
    shown = render(apng(plain(GREEN), [plain(RED)], default_is_shown=False))
    assert (names(shown), means(shown)) == ([None], [list(RED)])
    shown = render(apng(plain(GREEN), [plain(RED)], default_is_shown=True))
    assert means(shown) == [list(GREEN), list(RED)]


def test_a_first_frame_is_not_laid_over_a_default_image_that_nobody_sees() -> None:
    frame = picture(300, 240).convert("RGBA")
    frame.putalpha(120)
    control = struct.pack(">IIIIIHHBB", 0, 300, 240, 0, 0, 1, 10, 0, 1)
    before = [chunk(b"acTL", struct.pack(">II", 1, 0))]
    behind = [chunk(b"fcTL", control), chunk(b"fdAT", struct.pack(">I", 1) + rows_of(frame))]
    shown = render(png(plain(GREEN).convert("RGBA"), before, behind))
    alone = render(encode(frame, "PNG"))
    assert names(shown) == names(alone) == ["on white", "on black"]
    assert means(shown) == means(alone)


def test_of_an_animation_that_breaks_the_rules_the_default_image_is_seen_too() -> None:
    sound = apng(plain(RED), [plain(GREEN), plain(BLUE)], default_is_shown=False)
    control = sound.index(b"fcTL")
    late = chunk(b"acTL", struct.pack(">II", 2, 0))
    broken = {
        "late": sound.replace(late, b"").replace(_first_control(sound), late + _first_control(sound)),
        "out of order": sound[: control + 4] + struct.pack(">I", 7) + sound[control + 8 :],
        "outside": sound[: sound.rindex(b"fcTL") + 8] + struct.pack(">I", 9000) + sound[sound.rindex(b"fcTL") + 12 :],
    }
    for what, data in broken.items():
        assert means(render(data))[:2] == [list(RED), list(GREEN)], what
    assert means(render(broken["outside"])) == [list(RED), list(GREEN)]


def test_a_default_image_that_calls_itself_small_is_seen_whole() -> None:
    sound = apng(plain(RED), [plain(GREEN)], default_is_shown=True)
    size = sound.index(b"fcTL") + 8
    shown = render(sound[:size] + struct.pack(">II", 1, 1) + sound[size + 8 :])
    assert means(shown) == [list(RED), list(GREEN)]


def _first_control(data: bytes) -> bytes:
    start = data.index(b"fcTL") - 4
    return data[start : start + 38]


def test_an_animation_whose_later_frames_are_damaged_is_shown_as_far_as_it_goes() -> None:
    whole = apng(plain(RED), [plain(GREEN), picture(300, 240)], default_is_shown=True)
    shown = render(whole[: len(whole) - 50_000])
    assert shown.partial
    assert means(shown) == [list(RED), list(GREEN)]


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_transparency_is_laid_onto_white_and_onto_black(format: str) -> None:
    shown = render(encode(half_transparent("RGBA"), format))
    assert names(shown)[:2] == ["on white", "on black"]
    white, black = (rendering.pixels for rendering in shown.renderings[:2])
    assert white[:, :110].min() >= 250
    assert black[:, :110].max() <= 5
    assert np.abs(white[:, 115:].astype(int) - black[:, 115:]).max() <= 3


def test_transparency_that_is_not_to_be_seen_gives_one_rendering() -> None:
    opaque = picture().convert("RGBA")
    assert names(render(encode(opaque, "PNG"))) == [None]
    # Black on a clear black ground would be nothing on black, so this is seen, however few pixels are opaque.
    clear = Image.new("RGBA", (300, 300), (0, 0, 0, 0))
    clear.paste((0, 0, 0, 255), (100, 100, 130, 130))
    assert names(render(encode(clear, "PNG")))[:2] == ["on white", "on black"]


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_picture_held_in_transparency_alone_is_seen(level: int) -> None:
    grey = picture(300, 240).convert("L")
    image = Image.merge("RGBA", [Image.new("L", grey.size, level)] * 3 + [grey])
    expected = decode(encode(grey, "PNG"))
    shown = render(encode(image, "PNG"))
    differences = [np.abs(r.pixels.astype(int) - expected).mean() for r in shown.renderings]
    assert min(differences) < 2


def test_an_animation_with_transparency_is_rendered_frame_by_background() -> None:
    ball = Image.new("RGBA", (300, 240), (0, 0, 0, 0))
    ball.paste((220, 0, 0, 255), (0, 0, 100, 240))
    other = Image.new("RGBA", (300, 240), (0, 0, 0, 0))
    other.paste((0, 0, 220, 255), (200, 0, 300, 240))
    shown = render(encode(ball, "WEBP", save_all=True, append_images=[other], lossless=True, background=(0, 0, 0, 0)))
    assert {"frame 1 on white", "frame 1 on black", "frame 2 on white", "frame 2 on black"} <= set(names(shown))
    assert len(shown.renderings) <= 8


@pytest.mark.parametrize(("gamma", "expected"), [(1.0, 188), (0.45455, 128), (0.3, 90)])
def test_gamma_is_applied_as_browsers_do(gamma: float, expected: int) -> None:
    # 255 * (128 / 255) ** (1 / (2.2 * gamma))
    tag = chunk(b"gAMA", struct.pack(">I", round(gamma * 100_000)))
    grey = Image.new("RGB", (300, 240), (128, 128, 128))
    assert abs(int(decode(png(grey, [tag])).mean()) - expected) <= 2
    assert abs(int(decode(png(grey, [tag, chunk(b"sRGB", b"\0")])).mean()) - 128) <= 1
    with_alpha = grey.copy()
    with_alpha.putalpha(255)
    assert abs(int(decode(png(with_alpha, [tag])).mean()) - expected) <= 2


def test_a_picture_that_gamma_alone_reveals_is_seen() -> None:
    hidden = picture(300, 240).convert("L")
    dark = np.rint(65535 * (np.asarray(hidden) / 255) ** 6).astype(np.uint16)
    data = encode(Image.fromarray(dark), "PNG")
    tag = chunk(b"gAMA", struct.pack(">I", round(6 / 2.2 * 100_000)))
    after_header = 8 + 25
    revealed = decode(data[:after_header] + tag + data[after_header:])
    assert np.abs(revealed.astype(int) - decode(png(hidden))).mean() < 4
    assert decode(data).mean() < 100
