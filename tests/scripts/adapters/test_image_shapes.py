"""What decode makes of a sound image: the shape, the scale and the right way up."""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib import metadata

import numpy as np
import pytest
from PIL import Image
from support.pictures import (
    FORMATS,
    Pixels,
    encode,
    fully_filtered,
    mean_difference,
    picture,
    with_orientation,
)

from sniffer.adapters.images import PREPROCESSING_VERSION
from sniffer.adapters.images.render import decode
from sniffer.core.model_records import IMAGE_SHAPE


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


@pytest.mark.sampled(4)
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


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_the_first_of_several_frames_is_taken(format: str) -> None:
    red, blue = (Image.new("RGB", (400, 300), colour) for colour in ((220, 0, 0), (0, 0, 220)))
    pixels = decode(encode(red, format, save_all=True, append_images=[blue, blue]))
    assert pixels[112, 112, 0] > 200
    assert pixels[112, 112, 2] < 20
