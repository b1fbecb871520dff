"""Formats beside the common ones: those of phones, browsers and Windows, large ones, and what was stored compressed."""

from __future__ import annotations

import gzip
import io
import struct
import time
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms
from support.pictures import encode, fully_filtered, mean_difference, picture, refusal, with_orientation
from support.png_files import SIGNATURE, chunk, png

from sniffer.adapters.images.render import decode, render


def jxl(image: Image.Image, *, lossless: bool = False) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(np.asarray(image), level=None if lossless else 95, lossless=lossless))


def directory(kind: int, pictures: list[tuple[int, bytes]]) -> bytes:
    """An icon (1) or cursor (2) with these square pictures, named by their sides."""
    start = 6 + 16 * len(pictures)
    entries, bodies = b"", b""
    for side, body in pictures:
        # A cursor has its hot spot where an icon has planes and depth.
        entries += struct.pack("<BBBBHHII", side % 256, side % 256, 0, 0, 1, 32, len(body), start + len(bodies))
        bodies += body
    return struct.pack("<HHH", 0, kind, len(pictures)) + entries + bodies


def dib(image: Image.Image) -> bytes:
    """A bitmap as an icon holds it: 32 bits with transparency, its mask below."""
    width, height = image.size
    head = struct.pack("<IiiHHIIiiII", 40, width, height * 2, 1, 32, 0, 0, 0, 0, 0, 0)
    rows = np.asarray(image.convert("RGBA"))[::-1, :, [2, 1, 0, 3]].tobytes()
    return head + rows + bytes(-(-width // 32) * 4 * height)


@pytest.mark.parametrize("size", [(640, 480), (480, 640), pytest.param((1999, 1501), marks=pytest.mark.slow), (60, 44)])
def test_heic_and_jpeg_xl_give_the_same_picture(size: tuple[int, int]) -> None:
    image = picture(*size)
    expected = fully_filtered(image)
    # Half the resolution in colour tells in a picture of 60 pixels.
    assert mean_difference(decode(encode(image, "HEIF", quality=90)), expected) < (4 if size[0] > 100 else 8)
    assert mean_difference(decode(jxl(image)), expected) < 4


@pytest.mark.sampled(4)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_is_turned_upright_once(orientation: int) -> None:
    stored = picture(600, 452, grain=1)
    turned = decode(encode(stored, "HEIF", quality=95, exif=with_orientation(orientation).tobytes()))
    expected = decode(encode(stored, "JPEG", quality=95, exif=with_orientation(orientation)))
    assert mean_difference(turned, expected) < 2.5


def test_heic_may_be_transparent_or_deep_or_a_sequence() -> None:
    clear = picture(400, 300).convert("RGBA")
    clear.paste((0, 0, 0, 0), (0, 0, 200, 300))
    assert [r.name for r in render(encode(clear, "HEIF")).renderings] == ["on white", "on black"]
    first, second = picture(400, 300), Image.new("RGB", (400, 300), (200, 0, 0))
    data = encode(first, "HEIF", quality=95, save_all=True, append_images=[second], primary_index=1)
    assert mean_difference(decode(data), decode(encode(second, "PNG"))) < 3


@pytest.mark.parametrize("depth", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("count", [2, 5, 30])
def test_all_frames_of_an_animated_jpeg_xl_are_looked_at(count: int, depth: type[np.generic]) -> None:
    frames = np.zeros((count, 64, 80, 3), np.float32)
    shown = count * 2 // 3  # neither the first, nor the middle, nor the last of many
    frames[shown] = 0.8
    whole = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[depth]
    found = render(bytes(imagecodecs.jpegxl_encode((frames * whole).astype(depth))))
    assert [(r.name, bool(r.pixels.max() > 150)) for r in found.renderings] == [
        ("frame 1", False),
        (f"frame {shown + 1}", True),
    ]
    assert not found.partial


def test_an_animated_jpeg_xl_that_is_cut_says_that_it_is_partial() -> None:
    frames = np.random.default_rng(1).integers(0, 255, (60, 64, 64, 3), np.uint8)
    data = bytes(imagecodecs.jpegxl_encode(frames))
    cut = render(data[: len(data) // 2])
    assert cut.partial and len(cut.renderings) > 1


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
def test_jpeg_xl_of_any_mode(mode: str) -> None:
    image = picture(400, 300).convert(mode)
    shown = render(jxl(image, lossless=True))
    assert (
        mean_difference(
            shown.renderings[0].pixels,
            decode(encode(picture(400, 300).convert(mode[0] if mode == "LA" else mode), "PNG")),
        )
        < 2
    )


def test_jpeg_xl_of_16_bits_in_a_container() -> None:
    deep = np.asarray(picture(400, 300)).astype(np.uint16) * 257
    data = bytes(imagecodecs.jpegxl_encode(deep, lossless=True, usecontainer=True))
    assert data[4:8] == b"JXL "
    assert mean_difference(decode(data), decode(encode(picture(400, 300), "PNG"))) < 1


@pytest.mark.sampled(5)
@pytest.mark.parametrize("size", [(640, 480), (3000, 2001), (60, 44)])
@pytest.mark.parametrize("options", [{}, {"no_jp2": True}, {"num_resolutions": 1}, {"tile_size": (256, 256)}])
def test_jpeg_2000_is_decoded_no_larger_than_needed(size: tuple[int, int], options: dict[str, object]) -> None:
    if "tile_size" in options and size[0] < 256:
        pytest.skip("a tile larger than the picture")
    image = picture(*size, grain=1)
    options = {"num_resolutions": 4} | options
    assert mean_difference(decode(encode(image, "JPEG2000", **options)), fully_filtered(image)) < 3


def test_of_an_icon_the_largest_picture_is_taken() -> None:
    large, small = picture(256, 256), Image.new("RGB", (64, 64), (200, 0, 0))
    expected = fully_filtered(large)
    for pictures in ([(64, encode(small, "PNG")), (256, encode(large, "PNG"))], [(256, dib(large)), (64, dib(small))]):
        for kind in (1, 2):
            assert mean_difference(decode(directory(kind, pictures)), expected) < 1
    assert mean_difference(decode(encode(large, "ICO", sizes=[(16, 16), (256, 256)])), expected) < 1


def test_an_icon_may_be_transparent() -> None:
    clear = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    clear.paste((200, 0, 0, 255), (32, 0, 64, 64))
    for body in (dib(clear), encode(clear, "PNG")):
        shown = render(directory(1, [(64, body)]))
        assert [rendering.name for rendering in shown.renderings][:2] == ["on white", "on black"]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "HEIF"])
def test_a_gzip_of_an_image_is_that_image(format: str) -> None:
    data = encode(picture(), format)
    assert np.array_equal(decode(gzip.compress(data)), decode(data))


def test_a_gzip_is_unpacked_once_and_within_the_byte_limit() -> None:
    data = encode(picture(), "BMP")
    assert refusal(gzip.compress(data), max_bytes=len(data) - 1).code == "over_byte_limit"
    assert render(gzip.compress(data)[:-1000]).renderings
    assert refusal(gzip.compress(gzip.compress(data))).code == "not_an_image"
    assert refusal(gzip.compress(b"<html><body>404</body></html>")).code == "not_an_image"


@pytest.mark.parametrize("part", ["checksum", "length", "the last kilobyte"])
def test_a_damaged_gzip_gives_all_that_comes_before_the_damage(part: str) -> None:
    data = encode(picture(640, 480), "JPEG", quality=95)
    packed = bytearray(gzip.compress(data))
    at, length = {"checksum": (-8, 4), "length": (-4, 4), "the last kilobyte": (-1000, 992)}[part]
    packed[at : at + length if at + length else None] = b"\xff" * length
    shown = render(bytes(packed))
    assert shown.renderings
    assert shown.partial == (part == "the last kilobyte")


def test_what_lies_behind_a_gzip_costs_nothing_and_hides_nothing() -> None:
    data = encode(picture(), "JPEG")
    before = time.process_time()
    shown = render(gzip.compress(data) + bytes(60 << 20))
    assert time.process_time() - before < 1
    assert np.array_equal(shown.renderings[0].pixels, decode(data))


def test_a_photo_of_108_megapixels_counts_as_what_is_decoded() -> None:
    # As large as a phone's, but grey and even: a file of 1.6 MB.
    image = Image.new("L", (12000, 9000), 70)
    image.paste(200, (6000, 0, 12000, 9000))
    data = encode(image, "JPEG")
    pixels = decode(data)
    assert abs(int(pixels[:, :110].mean()) - 70) <= 2
    assert abs(int(pixels[:, 115:].mean()) - 200) <= 2
    assert "12000 x 9000" in str(refusal(data, max_pixels=1500 * 1125 - 1))


@pytest.mark.parametrize("marker", [0xC3, 0xC9, 0xCA, 0xCB, 0xCD])
def test_codings_of_jpeg_that_no_browser_shows_are_unsupported(marker: int) -> None:
    data = bytearray(encode(picture(), "JPEG"))
    data[data.index(b"\xff\xc0") + 1] = marker
    assert refusal(bytes(data)).code == "unsupported"


@pytest.mark.parametrize("name", [b"tEXt", b"zTXt", b"iTXt", b"pHYs", b"tIME", b"eXIf", b"iCCP", b"gAMA", b"abcd"])
@pytest.mark.parametrize("is_sound", [True, False])
def test_no_ancillary_chunk_can_hide_a_png(name: bytes, is_sound: bool) -> None:
    image = picture(400, 300)
    junk = chunk(name, b"k\0\0" + zlib.compress(bytes(3 << 20)) + b"\0" * 1000, is_sound=is_sound)
    for data in (png(image, [junk] * 3), png(image, after=[junk] * 3)):
        shown = render(data)
        assert not shown.partial
        if name != b"gAMA":
            assert mean_difference(shown.renderings[0].pixels, decode(png(image))) == 0


def test_text_of_many_megabytes_does_not_hide_a_png() -> None:
    image = picture(400, 300)
    texts = [
        chunk(b"tEXt", b"k\0" + b"x" * (2 << 20)),
        chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(b"x" * (9 << 20))),
    ]
    assert np.array_equal(decode(png(image, texts)), decode(png(image)))


def test_a_wrong_checksum_of_a_critical_chunk_does_not_hide_a_png() -> None:
    data = bytearray(png(picture(400, 300).convert("L")))
    data[8 + 24] ^= 1
    assert np.array_equal(decode(bytes(data)), decode(png(picture(400, 300).convert("L"))))
    assert bytes(data).startswith(SIGNATURE)


def test_a_profile_of_other_primaries_is_converted() -> None:
    # sRGB whose red and green have changed places, the usual way to see whether profiles are applied.
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(profile[128:132], "big")
    tags = {bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * count, 12)}
    red, green = profile[tags[b"rXYZ"] + 4 : tags[b"rXYZ"] + 12], profile[tags[b"gXYZ"] + 4 : tags[b"gXYZ"] + 12]
    profile[tags[b"rXYZ"] + 4 : tags[b"rXYZ"] + 12], profile[tags[b"gXYZ"] + 4 : tags[b"gXYZ"] + 12] = green, red
    image = Image.new("RGB", (300, 240), (200, 20, 20))
    for format in ("JPEG", "PNG", "WEBP", "TIFF"):
        shown = decode(encode(image, format, icc_profile=bytes(profile))).mean(axis=(0, 1))
        assert abs(shown[1] - 200) < 12, format
        assert shown[0] < 60, format
    file = io.BytesIO()
    image.save(file, "JPEG", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    assert np.array_equal(decode(file.getvalue()), decode(encode(image, "JPEG")))
