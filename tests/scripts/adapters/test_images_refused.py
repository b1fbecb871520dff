"""What decode refuses, by which name: no image, cut short, too large, or a bomb."""

from __future__ import annotations

import time

import pytest
from PIL import Image
from support.pictures import (
    FORMATS,
    encode,
    picture,
    png_of,
    refusal,
)

from sniffer.adapters.images.render import decode


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
        (b"\0\0\0\x18ftypheic" + bytes(40), "corrupt", "HEIC"),
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


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kept_bytes", [12, 20])
def test_a_file_of_which_nothing_can_be_shown_is_refused(format: str, kept_bytes: int) -> None:
    assert refusal(encode(picture(), format)[:kept_bytes]).code in ("truncated", "corrupt", "not_an_image")


def test_an_image_over_the_byte_limit_is_refused_and_one_at_it_is_not() -> None:
    data = encode(picture(), "JPEG")
    decode(data, max_bytes=len(data))
    error = refusal(data, max_bytes=len(data) - 1)
    assert error.code == "over_byte_limit"
    assert f"{len(data):,}" in str(error)


@pytest.mark.parametrize("format", FORMATS)
def test_an_image_over_the_pixel_limit_is_refused_and_one_at_it_is_not(format: str) -> None:
    data = encode(picture(), format)
    # Of this JPEG, half of each side is decoded.
    decoded = 320 * 240 if format == "JPEG" else 640 * 480
    decode(data, max_pixels=decoded)
    error = refusal(data, max_pixels=decoded - 1)
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
    assert error.code == "over_cost_limit"
