"""What decode makes of colours: transparency, depth, and colour spaces, as on a screen."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from support.pictures import (
    Colour,
    encode,
    fully_filtered,
    half_transparent,
    mean_difference,
    picture,
)

from sniffer.adapters.images.render import decode
from sniffer.core.model_records import IMAGE_SHAPE, IMAGE_SIDE


@pytest.mark.parametrize(
    ("mode", "format"),
    [("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF"), ("LA", "TIFF"), ("RGBA", "AVIF")],
)
def test_an_alpha_channel_is_laid_onto_white(mode: str, format: str) -> None:
    pixels = decode(encode(half_transparent(mode), format))
    assert pixels[:, :110].min() >= 250
    red, green, _ = pixels[112, 200]
    assert (abs(int(red) - 200) < 5 and green < 5) if mode == "RGBA" else abs(int(red) - 60) < 5


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_a_transparent_palette_entry_becomes_white(format: str) -> None:
    image = Image.new("P", (800, 600), 0)
    image.putpalette([0, 0, 0, 200, 0, 0])
    image.paste(1, (400, 0, 800, 600))
    pixels = decode(encode(image, format, transparency=0))
    assert pixels[:, :110].min() == 255
    assert pixels[112, 200].tolist() == [200, 0, 0]


@pytest.mark.parametrize(
    ("mode", "clear", "solid", "transparency"),
    [("RGB", (0, 0, 0), (200, 0, 0), (0, 0, 0)), ("L", 0, 60, 0), ("1", 0, 1, 0), ("I;16", 0, 60 * 257, 0)],
)
def test_a_colour_named_transparent_becomes_white(
    mode: str, clear: Colour, solid: Colour, transparency: Colour
) -> None:
    image = Image.new(mode, (800, 600), clear)
    image.paste(solid, (400, 0, 800, 600))
    pixels = decode(encode(image, "PNG", transparency=transparency))
    assert pixels[:, :110].min() == 255
    expected = {"RGB": [200, 0, 0], "L": [60] * 3, "1": [255] * 3, "I;16": [60] * 3}[mode]
    assert pixels[112, 200].tolist() == expected


def test_transparent_pixels_lend_their_colour_to_no_neighbour() -> None:
    image = Image.new("RGBA", (2000, 2000), (0, 255, 0, 0))
    image.paste((0, 0, 200, 255), (0, 0, 1000, 2000))
    green = decode(encode(image, "PNG"))[:, :, 1].astype(int)
    blue = decode(encode(image, "PNG"))[:, :, 2].astype(int)
    # Between opaque blue and white, green follows red; leaked green would exceed it.
    red = decode(encode(image, "PNG"))[:, :, 0].astype(int)
    assert np.abs(green - red).max() <= 1
    assert blue.min() >= 199


@pytest.mark.parametrize("mode", ["P", "1", "RGBA", "LA", "I;16"])
def test_converting_band_by_band_leaves_no_seam(mode: str) -> None:
    # Large enough to need several bands.
    ramp = np.linspace(0, 255, 2500, dtype=np.uint8)[:, None].repeat(2500, axis=1)
    image = Image.fromarray(ramp)
    image = Image.fromarray(ramp.astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    column = decode(encode(image, "PNG", compress_level=1)).mean(axis=(1, 2))
    steps = np.diff(column)
    # A 1-bit ramp is dithered.
    assert steps.max() <= (4 if mode == "1" else 2)
    assert steps.min() > (-3 if mode == "1" else -0.01)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
@pytest.mark.parametrize("byte_order", ["<u2", ">u2"])
def test_a_16_bit_ramp_keeps_its_whole_range(format: str, byte_order: str) -> None:
    ramp = np.linspace(0, 65535, 600).astype(byte_order)[None, :].repeat(400, axis=0)
    row = decode(encode(Image.fromarray(ramp), format))[100, :, 0].astype(int)
    assert row[0] <= 1
    assert row[-1] >= 254
    assert np.abs(row - np.linspace(0, 255, IMAGE_SIDE)).max() < 2


@pytest.mark.parametrize(("low", "high"), [(0, 1_000_000), (-32768, 32767), (7, 9)])
def test_32_bit_integers_are_stretched_over_the_whole_range(low: int, high: int) -> None:
    ramp = np.linspace(low, high, 600).round().astype(np.int32)[None, :].repeat(400, axis=0)
    row = decode(encode(Image.fromarray(ramp), "TIFF"))[100, :, 0].astype(int)
    assert (row[0], row[-1]) == (0, 255)
    assert np.diff(row).min() >= 0


@pytest.mark.parametrize(
    ("low", "high", "black", "white"), [(0.2, 0.6, 51, 153), (-4.0, 1e6, 0, 255), (0.5, 0.5, 128, 128)]
)
def test_floats_are_taken_as_fractions_or_stretched(low: float, high: float, black: int, white: int) -> None:
    ramp = np.linspace(low, high, 600, dtype=np.float32)[None, :].repeat(400, axis=0)
    row = decode(encode(Image.fromarray(ramp), "TIFF"))[100, :, 0].astype(int)
    assert abs(row[0] - black) <= 1
    assert abs(row[-1] - white) <= 1


def test_floats_that_are_no_numbers_do_not_spoil_the_rest() -> None:
    ramp = np.linspace(0, 1, 600, dtype=np.float32)[None, :].repeat(400, axis=0)
    ramp[:20, :20] = np.nan
    ramp[-20:, :20] = np.inf
    row = decode(encode(Image.fromarray(ramp), "TIFF"))[100, :, 0].astype(int)
    assert np.abs(row - np.linspace(0, 255, IMAGE_SIDE)).max() < 2


@pytest.mark.parametrize(
    ("mode", "format"), [("L", "JPEG"), ("L", "PNG"), ("L", "WEBP"), ("1", "PNG"), ("1", "TIFF"), ("P", "BMP")]
)
def test_grey_and_one_bit_images_stay_grey(mode: str, format: str) -> None:
    image = picture().convert("L").convert(mode)
    pixels = decode(encode(image, format)).astype(int)
    assert np.abs(pixels[:, :, 0] - pixels[:, :, 2]).max() <= 3
    assert mean_difference(pixels.astype(np.uint8), fully_filtered(picture().convert("L"))) < (20 if mode == "1" else 3)


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (220, 30, 30), (30, 60, 200), (128, 128, 128)])
def test_print_colours_come_out_as_on_screen(format: str, colour: tuple[int, int, int]) -> None:
    image = Image.new("RGB", (500, 400), colour).convert("CMYK")
    pixels = decode(encode(image, format, quality=95) if format == "JPEG" else encode(image, format))
    assert np.abs(pixels.astype(int) - np.array(colour)).max() <= 6


@pytest.mark.parametrize("mode", ["LAB", "YCbCr"])
def test_other_colour_spaces_are_converted(mode: str) -> None:
    image = picture().convert("YCbCr") if mode == "YCbCr" else Image.new("LAB", (300, 300), (136, 208, 195))
    expected = fully_filtered(picture()) if mode == "YCbCr" else np.full(IMAGE_SHAPE, (250, 3, 11), np.uint8)
    assert mean_difference(decode(encode(image, "TIFF")), expected) < 3
