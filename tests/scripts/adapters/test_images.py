import io
import random
import struct
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from sniffer.adapters.images import PREPROCESSING_VERSION, decode
from sniffer.core.errors import UnreadableImage
from sniffer.core.model_records import IMAGE_SHAPE, IMAGE_SIDE

Pixels = NDArray[np.uint8]
Colour = int | tuple[int, int, int]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
ORIENTATION_TAG = 0x0112


def encode(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **({"speed": 10} if format == "AVIF" else {}) | options)
    return file.getvalue()


def picture(width: int = 640, height: int = 480, grain: float = 5.0) -> Image.Image:
    """Something like a photograph: smooth shapes in colour and a little grain; no symmetry at all."""
    rng = np.random.default_rng(7)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float32)
    noisy = smooth + rng.normal(0, grain, smooth.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def fully_filtered(image: Image.Image) -> Pixels:
    """What decode approximates: every pixel decoded and filtered, without any short cut."""
    return np.asarray(image.convert("RGB").resize((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.BILINEAR))


def mean_difference(left: Pixels, right: Pixels) -> float:
    return float(np.abs(left.astype(int) - right.astype(int)).mean())


def refusal(data: bytes, **limits: int) -> UnreadableImage:
    with pytest.raises(UnreadableImage) as caught:
        decode(data, **limits)
    return caught.value


def with_orientation(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    return exif


def png_of(width: int, height: int, bit_depth: int = 1, colour_type: int = 0) -> bytes:
    """A well-formed PNG that is blank, whatever its size, in a few bytes per megapixel."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    row = b"\0" * (1 + (width * bit_depth + 7) // 8)
    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_the_preprocessing_version_names_pillow_and_fits_a_column() -> None:
    assert PREPROCESSING_VERSION.endswith("pillow" + metadata.version("pillow").split(".")[0])
    assert len(PREPROCESSING_VERSION) <= 32


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_gives_the_same_picture_in_the_contracts_shape(format: str) -> None:
    pixels = decode(encode(picture(), format))
    assert pixels.shape == IMAGE_SHAPE
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    # GIF has 256 colours only.
    assert mean_difference(pixels, fully_filtered(picture())) < (10 if format == "GIF" else 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (224, 224), (223, 225), (100, 2000), (2000, 447)])
def test_every_shape_fills_the_square(size: tuple[int, int]) -> None:
    image = picture(*size, grain=0)
    assert mean_difference(decode(encode(image, "PNG")), fully_filtered(image)) < 1.5
    assert mean_difference(decode(encode(image, "JPEG", quality=95)), fully_filtered(image)) < 4


@pytest.mark.parametrize("size", [(1080, 810), (810, 1080), (1999, 1501), (4000, 900)])
def test_scaling_while_decoding_hardly_changes_the_pixels(size: tuple[int, int]) -> None:
    data = encode(picture(*size), "JPEG", quality=88)
    exact = fully_filtered(Image.open(io.BytesIO(data)))
    difference = np.abs(decode(data).astype(int) - exact.astype(int))
    assert difference.mean() < 1.5
    assert difference.max() < 16


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_upright(format: str, orientation: int) -> None:
    # How the stored pixels must be turned to look right: EXIF 2.32, section 4.6.4, tag 274.
    upright_of: dict[int, Callable[[Pixels], Pixels]] = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: np.rot90,
    }
    stored = picture(600, 451, grain=1)
    upright = Image.fromarray(np.ascontiguousarray(upright_of[orientation](np.asarray(stored))))
    turned_by_us = decode(encode(stored, format, exif=with_orientation(orientation)))
    # Lossy formats halve the colour's resolution, from another corner once turned.
    tolerance = 0.6 if format in ("PNG", "TIFF") else 2.5
    assert mean_difference(turned_by_us, decode(encode(upright, format))) < tolerance
    if orientation != 1:
        assert mean_difference(turned_by_us, decode(encode(stored, format))) > 5


@pytest.mark.parametrize("exif", [b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"])
def test_broken_exif_does_not_make_an_image_unreadable(exif: bytes) -> None:
    plain = decode(encode(picture(), "JPEG"))
    assert np.array_equal(decode(encode(picture(), "JPEG", exif=exif)), plain)


def half_transparent(mode: str) -> Image.Image:
    """Left half black and clear, right half red (or dark grey) and opaque."""
    image = Image.new("RGBA", (800, 600), (0, 0, 0, 0))
    image.paste((200, 0, 0, 255), (400, 0, 800, 600))
    return image.convert(mode)


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


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_the_first_of_several_frames_is_taken(format: str) -> None:
    red, blue = (Image.new("RGB", (400, 300), colour) for colour in ((220, 0, 0), (0, 0, 220)))
    pixels = decode(encode(red, format, save_all=True, append_images=[blue, blue]))
    assert pixels[112, 112, 0] > 200
    assert pixels[112, 112, 2] < 20


@pytest.mark.parametrize(
    ("data", "code", "says"),
    [
        (b"", "empty", "no bytes"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "not_an_image", "HTML"),
        (b"\xef\xbb\xbf  <!-- moved --><HTML>", "not_an_image", "HTML"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "not_an_image", "XML"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "unsupported", "SVG"),
        (b'{"error": "gone"}', "not_an_image", "JSON"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "not_an_image", "PDF"),
        (b"PK\x03\x04" + bytes(40), "not_an_image", "ZIP"),
        (b"\0\0\0\x18ftypmp42" + bytes(40), "not_an_image", "video"),
        (b"\x1aE\xdf\xa3" + bytes(40), "not_an_image", "video"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "unsupported", "HEIC"),
        (b"8BPS\0\1" + bytes(40), "unsupported", "Photoshop"),
        (b"BMW drives; \xc3\xbcber alles", "not_an_image", "text"),
        (("ä" * 600).encode()[:1025], "not_an_image", "text"),
        (bytes(range(256)), "not_an_image", "unknown data"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50) + b"IEND\xaeB`\x82", "corrupt", "PNG"),
    ],
)
def test_what_is_no_image_is_named(data: bytes, code: str, says: str) -> None:
    error = refusal(data)
    assert error.code == code
    assert says in str(error)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.9])
def test_an_image_cut_short_is_truncated(format: str, kept: float) -> None:
    data = encode(picture(), format)
    error = refusal(data[: int(len(data) * kept)])
    assert error.code == "truncated"


def test_damaged_pixels_are_corrupt() -> None:
    data = bytearray(encode(picture(), "PNG"))
    data[len(data) // 2 : len(data) // 2 + 100] = bytes(100)
    assert refusal(bytes(data)).code == "corrupt"


def test_an_image_over_the_byte_limit_is_refused_and_one_at_it_is_not() -> None:
    data = encode(picture(), "JPEG")
    decode(data, max_bytes=len(data))
    error = refusal(data, max_bytes=len(data) - 1)
    assert error.code == "over_byte_limit"
    assert f"{len(data):,}" in str(error)


@pytest.mark.parametrize("format", FORMATS)
def test_an_image_over_the_pixel_limit_is_refused_and_one_at_it_is_not(format: str) -> None:
    data = encode(picture(), format)
    decode(data, max_pixels=640 * 480)
    error = refusal(data, max_pixels=640 * 480 - 1)
    assert error.code == "over_pixel_limit"
    assert "640 x 480" in str(error)


@pytest.mark.parametrize("size", [(9000, 9000), (30000, 30000)])
def test_a_decompression_bomb_is_refused_at_once(size: tuple[int, int]) -> None:
    bomb = png_of(*size)
    assert len(bomb) < 250_000
    started = time.process_time()
    assert refusal(bomb).code == "over_pixel_limit"
    # Decoding 81 megapixels takes ten times as long, and 900 would show in any memory limit.
    assert time.process_time() - started < 0.02


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = encode(Image.new("L", (4000, 4000), 90), "JPEG", progressive=True)
    last_tables = data.rfind(b"\xff\xc4", 0, data.rfind(b"\xff\xda"))
    last_scan = data[last_tables:-2]
    decode(data[:-2] + last_scan * 3 + data[-2:])
    error = refusal(data[:-2] + last_scan * 3000 + data[-2:])
    assert error.code == "over_scan_limit"


def test_many_threads_see_what_one_sees() -> None:
    sources = [encode(picture(500, 400), format) for format in FORMATS] * 3
    alone = [decode(data) for data in sources]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(decode, sources))
    assert all(np.array_equal(left, right) for left, right in zip(alone, together, strict=True))


def small_files() -> list[bytes]:
    """One small file of each format and of the modes that take another way through the code."""
    colour, grey = picture(60, 44), picture(60, 44).convert("L")
    files = [encode(colour, format) for format in FORMATS]
    files += [
        encode(colour, "JPEG", progressive=True, exif=with_orientation(6)),
        encode(colour.convert("CMYK"), "JPEG"),
    ]
    files += [encode(half_transparent("RGBA").resize((60, 44)), format) for format in ("PNG", "WEBP", "TIFF")]
    files += [encode(colour.quantize(16), "PNG", transparency=3), encode(grey.convert("1"), "PNG")]
    files += [encode(colour, format, save_all=True, append_images=[colour]) for format in ("GIF", "WEBP", "PNG", "MPO")]
    files += [encode(colour, "TIFF", compression=kind) for kind in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits")]
    files += [encode(grey.convert(mode), "TIFF") for mode in ("I", "F", "I;16")]
    return files


SMALL_FILES = small_files()
HOSTILE_BYTES = st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 0x7F, 0x80, 0xFE, 0xFF]))


def pixels_or_refusal(data: bytes) -> None:
    try:
        pixels = decode(data, max_pixels=1_000_000)
    except UnreadableImage as error:
        assert error.code
        assert "\n" not in str(error)
        assert "object at 0x" not in str(error)
    else:
        assert pixels.shape == IMAGE_SHAPE
        assert pixels.dtype == np.uint8


@pytest.mark.filterwarnings("ignore")
@given(st.sampled_from(SMALL_FILES), st.floats(0, 1))
@settings(max_examples=150, deadline=None)
def test_a_file_cut_anywhere_gives_pixels_or_a_refusal(data: bytes, kept: float) -> None:
    pixels_or_refusal(data[: int(len(data) * kept)])


@pytest.mark.filterwarnings("ignore")
@given(
    st.sampled_from(SMALL_FILES),
    st.lists(st.tuples(st.floats(0, 1), HOSTILE_BYTES), min_size=1, max_size=12),
    st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_flipped_bytes_give_pixels_or_a_refusal(data: bytes, flips: list[tuple[float, int]], in_header: bool) -> None:
    damaged = bytearray(data)
    for place, value in flips:
        damaged[int(place * (min(len(data), 120 if in_header else len(data)) - 1))] = value
    pixels_or_refusal(bytes(damaged))


@pytest.mark.filterwarnings("ignore")
@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_pixels_or_a_refusal(data: bytes) -> None:
    pixels_or_refusal(data)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_thousands_of_damaged_files_give_pixels_or_a_refusal() -> None:
    rng = random.Random(20261120)
    for _ in range(20_000):
        damaged = bytearray(rng.choice(SMALL_FILES))
        for _ in range(rng.choice((1, 2, 4, 16))):
            place = rng.randrange(min(len(damaged), rng.choice((40, 200, 1 << 30))))
            length = rng.choice((0, 1, 1, 1, 4, 20))
            damaged[place : place + length] = rng.randbytes(rng.choice((0, length, length, 2 * length)))
            damaged = damaged or bytearray(b"\0")
        pixels_or_refusal(bytes(damaged))
