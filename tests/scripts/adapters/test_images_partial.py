"""Damaged files of which viewers show a part: that part is scored, and the picture says that it is partial."""

from __future__ import annotations

import re
import zlib

import numpy as np
import pytest
from PIL import Image
from support.pictures import Pixels, encode, mean_difference, picture, refusal
from support.png_files import SIGNATURE, chunk, header, png, rows_of

from sniffer.adapters.images.render import Picture, decode, render

OPTIONS: dict[str, tuple[str, dict[str, object]]] = {
    "JPEG": ("JPEG", {"quality": 90}),
    "progressive JPEG": ("JPEG", {"quality": 90, "progressive": True}),
    "CMYK JPEG": ("JPEG", {"quality": 90}),
    "PNG": ("PNG", {}),
    "GIF": ("GIF", {"interlace": 0}),
    "interlaced GIF": ("GIF", {"interlace": 1}),
    "WebP": ("WEBP", {}),
    "lossless WebP": ("WEBP", {"lossless": True}),
    "BMP": ("BMP", {}),
}
IN_PASSES = ("progressive JPEG", "interlaced GIF")


def file_of(kind: str, image: Image.Image) -> bytes:
    format, options = OPTIONS[kind]
    return encode(image.convert("CMYK") if kind == "CMYK JPEG" else image, format, **options)


def only(shown: Picture) -> Pixels:
    assert shown.partial
    assert [rendering.name for rendering in shown.renderings] == [None]
    return shown.renderings[0].pixels


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("size", [(640, 480), (200, 150), (1801, 1203)])
def test_a_file_without_its_last_bytes_is_shown(kind: str, size: tuple[int, int]) -> None:
    data = file_of(kind, picture(*size))
    for lost in (1, 3, 20):
        shown = render(data[:-lost])
        # WebP loses its last row of blocks, 16 pixels high.
        assert mean_difference(shown.renderings[0].pixels, decode(data)) < (8 if kind == "WebP" else 4)
    # The last 20 bytes of a PNG are checksums and an end: the picture is whole.
    assert shown.partial == (kind != "PNG")


@pytest.mark.parametrize("kind", OPTIONS)
def test_half_a_file_shows_what_comes_first_and_white_behind_it(kind: str) -> None:
    data = file_of(kind, picture(640, 480))
    whole, half = decode(data), only(render(data[: len(data) // 2]))
    if kind in IN_PASSES:
        assert mean_difference(half, whole) < 12
        return
    if kind == "BMP":  # stored from the bottom up
        whole, half = whole[::-1], half[::-1]
    assert mean_difference(half[:70], whole[:70]) < 3
    # A palette of photographs need not hold white; the rest then has its lightest colour.
    rest = half[170:].reshape(-1, 3)
    assert np.ptp(rest, axis=0).max() == 0
    assert rest.min() > (150 if "GIF" in kind else 250)


def test_half_an_interlaced_png_is_shown_in_whole_and_coarse() -> None:
    # Adam7: where each of seven passes begins and how far apart its pixels are (PNG, 8.1).
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    image = picture(400, 304, grain=1)
    values = np.asarray(image)
    parts = [values[top::down, left::across] for top, left, down, across in passes]
    rows = b"".join(b"\0" + row.tobytes() for part in parts for row in part)
    data = b"".join([SIGNATURE, header(*image.size, interlaced=1), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND")])
    assert mean_difference(decode(data), decode(png(image))) == 0
    for kept in (0.1, 0.3, 0.6, 0.95):
        assert mean_difference(only(render(data[: int(len(data) * kept)])), decode(data)) < 12


def test_a_png_without_its_end_is_not_partial() -> None:
    data = png(picture(400, 300))
    assert not render(data[:-12]).partial
    assert np.array_equal(decode(data[:-12]), decode(data))


def test_damaged_data_in_a_png_hide_nothing_that_comes_before_them() -> None:
    data = bytearray(png(picture(400, 300)))
    middle = len(data) // 2
    data[middle : middle + 100] = bytes(100)
    assert mean_difference(only(render(bytes(data)))[:90], decode(png(picture(400, 300)))[:90]) < 1


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (200, 30, 30)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WebP"])
def test_a_picture_of_one_colour_is_shown_without_its_last_bytes(kind: str, colour: tuple[int, int, int]) -> None:
    data = file_of(kind, Image.new("RGB", (400, 300), colour))
    lost = 40 if kind == "PNG" else 3
    # A BMP begins with the lowest row, the others end with it.
    assert np.abs(only(render(data[:-lost]))[20:150].astype(int) - colour).max() < 4


@pytest.mark.parametrize("format", ["GIF", "WEBP"])
def test_an_animation_without_its_last_bytes_shows_the_frames_before(format: str) -> None:
    frames = [Image.new("RGB", (300, 240), colour) for colour in ((220, 0, 0), (0, 200, 0))] + [picture(300, 240)]
    data = encode(frames[0], format, save_all=True, append_images=frames[1:])
    shown = render(data[:-200])
    assert shown.partial
    assert [rendering.name for rendering in shown.renderings] == ["frame 1", "frame 2"]


def test_a_phones_picture_without_its_last_bytes_is_shown() -> None:
    data = encode(picture(), "HEIF")
    assert mean_difference(only(render(data[:-30])), decode(data)) < 2
    assert mean_difference(only(render(data[: len(data) // 2]))[:60], decode(data)[:60]) < 12
    assert refusal(data[: data.index(b"mdat") + 4]).code in ("truncated", "corrupt")


BEGINNINGS = {
    "image": b"\xff\xd8",
    "thrice": b"\xff\xd8" * 3 + b"\xff\xe0\0\x10JFIF",
    "frame": b"\xff\xc0\0\x0b\x08\0\x10\0\x10\x01\x01\x11\0",
}


@pytest.mark.parametrize("kind", ["JPEG", "progressive JPEG"])
@pytest.mark.parametrize("anew", BEGINNINGS)
def test_a_jpeg_in_which_another_begins_is_shown_as_far_as_it_goes(kind: str, anew: str) -> None:
    """As Chromium does."""
    data = file_of(kind, picture(320, 240))
    whole, scan = decode(data), data.rindex(b"\xff\xda")
    assert mean_difference(only(render(data[:-2] + BEGINNINGS[anew] + data[-2:])), whole) < 2
    middle = scan + (len(data) - scan) * 3 // 4
    while data[middle - 1] == 0xFF:
        middle += 1
    assert mean_difference(only(render(data[:middle] + BEGINNINGS[anew] + data[middle:]))[:60], whole[:60]) < 12


def test_a_jpeg_that_ends_before_its_first_block_is_refused() -> None:
    data = encode(picture(), "JPEG")
    scan = data.index(b"\xff\xda")
    assert refusal(data[:scan]).code == "truncated"
    assert refusal(data[: scan + 14]).code == "truncated"


def test_a_png_whose_data_are_nothing_is_refused() -> None:
    parts = [SIGNATURE, header(400, 300), chunk(b"IDAT", rows_of(picture(400, 300))[:2]), chunk(b"IEND")]
    assert refusal(b"".join(parts)).code in ("truncated", "corrupt")


def test_a_progressive_jpeg_is_shown_wherever_it_ends_behind_its_first_scan() -> None:
    data = encode(picture(320, 240), "JPEG", progressive=True)
    scans = [found.start() for found in re.finditer(b"\xff\xda", data)]
    ends = [scan + more for scan in scans[1:] for more in (*range(-30, 11), 60)]
    assert len(scans) > 5
    for end in ends:
        assert mean_difference(only(render(data[:end])), decode(data)) < 20
