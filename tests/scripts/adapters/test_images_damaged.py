"""Damaged files, and many at a time: pixels or a refusal, and nothing else."""

from __future__ import annotations

import gzip
import random
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imagecodecs import jpegxl_encode
from support.decode_cost import forget_peak, peak_bytes
from support.pictures import (
    FORMATS,
    encode,
    half_transparent,
    picture,
    with_orientation,
)
from support.png_files import apng

from sniffer.adapters.images.render import decode, render
from sniffer.core.errors import UnreadableImage
from sniffer.core.model_records import IMAGE_SHAPE
from sniffer.core.outcomes import CODES


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
    clear = half_transparent("RGBA").resize((60, 44))
    files += [encode(colour, "HEIF"), encode(clear, "HEIF"), encode(colour, "JPEG2000"), encode(clear, "ICO")]
    files += [bytes(jpegxl_encode(np.asarray(image), level=90)) for image in (colour, grey, clear)]
    files += [encode(clear, "WEBP", save_all=True, append_images=[colour.convert("RGBA")]), gzip.compress(files[0])]
    files += [apng(colour, [colour, colour.rotate(180)], default_is_shown=shown) for shown in (True, False)]
    files += [encode(colour, "AVIF", save_all=True, append_images=[colour.rotate(180)]), encode(clear, "AVIF")]
    return files


SMALL_FILES = small_files()
HOSTILE_BYTES = st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 0x7F, 0x80, 0xFE, 0xFF]))


def pixels_or_refusal(data: bytes) -> None:
    try:
        picture = render(data, max_pixels=1_000_000)
    except UnreadableImage as error:
        assert error.code in CODES
        assert "\n" not in str(error)
        assert "object at 0x" not in str(error)
    else:
        assert 1 <= len(picture.renderings) <= 8
        assert len({rendering.name for rendering in picture.renderings}) == len(picture.renderings)
        for rendering in picture.renderings:
            assert rendering.pixels.shape == IMAGE_SHAPE
            assert rendering.pixels.dtype == np.uint8
            assert rendering.pixels.flags.c_contiguous


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
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore")
def test_thousands_of_damaged_files_give_pixels_or_a_refusal_at_bounded_cost() -> None:
    rng = random.Random(20261120)
    forget_peak()
    at_start = peak_bytes()  # pytest's own process, after whatever ran in it before
    for _ in range(20_000):
        damaged = bytearray(rng.choice(SMALL_FILES))
        for _ in range(rng.choice((1, 2, 4, 16))):
            place = rng.randrange(min(len(damaged), rng.choice((40, 200, 1 << 30))))
            length = rng.choice((0, 1, 1, 1, 4, 20))
            damaged[place : place + length] = rng.randbytes(rng.choice((0, length, length, 2 * length)))
            damaged = damaged or bytearray(b"\0")
        started = time.process_time()
        pixels_or_refusal(bytes(damaged))
        assert time.process_time() - started < 3, bytes(damaged)
    assert peak_bytes() - at_start < 1 << 30


@pytest.mark.parametrize("place", [2, None])
def test_bytes_that_fill_the_space_before_a_marker_hide_nothing(place: int | None) -> None:
    data = encode(picture(320, 240), "JPEG", quality=90)
    at = data.index(b"\xff\xda") if place is None else place
    filled = data[:at] + b"\xff" * 1_000_000 + data[at:]
    assert np.array_equal(decode(filled), decode(data))
