"""Pictures of every kind for the decoder, and what it makes of them."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image

from sniffer.adapters.images.render import decode
from sniffer.core.errors import UnreadableImage
from sniffer.core.model_records import IMAGE_SIDE

pillow_heif.register_heif_opener()

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


def half_transparent(mode: str) -> Image.Image:
    """Left half black and clear, right half red (or dark grey) and opaque."""
    image = Image.new("RGBA", (800, 600), (0, 0, 0, 0))
    image.paste((200, 0, 0, 255), (400, 0, 800, 600))
    return image.convert(mode)
