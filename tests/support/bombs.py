"""Small files that cost much: each entry is made by code, and decoding it must stay within the bounds of any file."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image

from support.pictures import encode, picture, png_of
from support.png_files import SIGNATURE, chunk, header, png, rows_of

MIB = 1 << 20


def grey(width: int, height: int, mode: str = "L") -> Image.Image:
    return Image.new(
        mode, (width, height), 90 if mode == "L" else (90, 40, 10, 0)[: len(Image.getmodebands(mode) * "x")]
    )


def endless_scans(image: Image.Image, total_bytes: int, **options: object) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    data = encode(image, "JPEG", progressive=True, **options)
    tables = data.rfind(b"\xff\xc4", 0, data.rfind(b"\xff\xda"))
    scan = data[tables:-2]
    return data[:-2] + scan * max(1, (total_bytes - len(data)) // len(scan)) + data[-2:]


def arithmetic() -> bytes:
    """A JPEG that says of itself that it is arithmetic-coded."""
    data = bytearray(encode(grey(8000, 8000), "JPEG"))
    data[data.index(b"\xff\xc0") + 1] = 0xC9
    return bytes(data)


def exif_segments() -> bytes:
    body = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", 5000) + b"\1\x0f\0\2\0\0\xff\0\0\0\0\0" * 5000
    segment = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    plain = encode(picture(64, 48), "JPEG")
    return plain[:2] + segment * 900 + plain[2:]


def tiny_segments() -> bytes:
    plain = encode(picture(64, 48), "JPEG")
    return plain[:2] + b"\xff\xe5\0\2" * 4_000_000 + plain[2:]


def gif(frames: list[bytes], width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6) + b"".join(frames) + b";"


def gif_frame(width: int, height: int) -> bytes:
    """One of a single colour: a clear code, that colour, an end; the rest stays as it was."""
    return b"\x21\xf9\4\4\1\0\0\0" + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\2\2\x44\1\0"


def comment_blocks(total_bytes: int, block: int) -> bytes:
    comment = b"\x21\xfe" + (bytes([block]) + b"a" * block) * (total_bytes // (block + 1)) + b"\0"
    return gif([comment, gif_frame(10, 10)], 10, 10)


def webp(canvas: int, payload: bytes) -> bytes:
    size = (canvas - 1).to_bytes(3, "little")
    extended = b"VP8X" + struct.pack("<I", 10) + bytes(4) + size * 2
    body = b"WEBP" + extended + payload
    return b"RIFF" + struct.pack("<I", len(body)) + body


def lossless_webp(side: int) -> bytes:
    """40 bytes that promise a large picture."""
    bits = (side - 1) | (side - 1) << 14
    return webp(side, b"VP8L" + struct.pack("<I", 5000) + b"\x2f" + struct.pack("<I", bits) + bytes(10))


def with_declared_size(format: str, size: int, **options: object) -> bytes:
    """AVIF or HEIC whose box of the size says something else."""
    data = bytearray(encode(picture(64, 64), format, **options))
    at = data.index(b"ispe")
    data[at + 8 : at + 16] = struct.pack(">II", size, size)
    return bytes(data)


def png_texts(kind: bytes, body: bytes, count: int) -> bytes:
    return png(picture(64, 48), [chunk(kind, body)] * count)


def large_apng(side: int, frames: int) -> bytes:
    parts = [SIGNATURE, header(side, side, 8, 0), chunk(b"acTL", struct.pack(">II", frames, 0))]
    rows = rows_of(Image.new("L", (1, 1), 9))
    for number in range(frames):
        at = struct.pack(">IIIIIHHBB", 2 * number, 1, 1, number % side, 0, 1, 10, 2, 1)
        parts += [chunk(b"fcTL", at), chunk(b"fdAT", struct.pack(">I", 2 * number + 1) + rows)]
    blank = zlib.compress(bytes((side + 1) * side), 9)
    return b"".join([*parts[:3], chunk(b"IDAT", blank), *parts[3:], chunk(b"IEND")])


def tiff(entries: list[tuple[int, int, int, int]], data: bytes = b"") -> bytes:
    body = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return b"II*\0" + struct.pack("<I", 8) + body + bytes(4) + data


def plain_tags(width: int, height: int) -> list[tuple[int, int, int, int]]:
    return [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1)]


def tiff_of_tags() -> bytes:
    """Each of 60,000 tags has the same megabyte for its value."""
    return tiff(plain_tags(8, 8) + [(40_000 - number, 1, MIB, 8) for number in range(30_000)], bytes(MIB))


def tiff_of_strips(count: int) -> bytes:
    tags = [*plain_tags(1, count), (273, 4, count, 200), (278, 4, 1, 1), (279, 4, count, 200)]
    return tiff(tags, bytes(200) + struct.pack("<I", 300) * count)


def icon(entries: int) -> bytes:
    body = encode(picture(64, 64), "PNG")
    start = 6 + 16 * entries
    entry = struct.pack("<BBBBHHII", 64, 64, 0, 0, 1, 32, len(body), start)
    return struct.pack("<HHH", 0, 1, entries) + entry * entries + body


def run_lengths(side: int, total_bytes: int) -> bytes:
    palette = bytes(range(4)) * 256
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, 0, 0, 0, 256, 0)
    start = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, start) + head + palette + b"\1\7" * (total_bytes // 2)


def jxl(side_bits: int) -> bytes:
    """A codestream that only says how large it is: two sides of 30 bits."""
    bits = 0 | 3 << 1 | side_bits << 3
    return b"\xff\x0a" + (bits | 0 << 33 | 3 << 36 | side_bits << 38).to_bytes(12, "little") + bytes(20)


def jpeg2000(side: int, tile: int) -> bytes:
    size = struct.pack(">HHIIIIIIIIH", 41, 0, side, side, 0, 0, tile, tile, 0, 0, 1) + b"\7\1\1"
    return b"\xff\x4f\xff\x51" + size + encode(picture(64, 64), "JPEG2000", no_jp2=True)[50:]


def interlaced(side: int) -> bytes:
    rows = bytes((side * 3 + 1) * side + 8 * side)
    return b"".join([SIGNATURE, header(side, side, 8, 2, 1), chunk(b"IDAT", zlib.compress(rows, 1)), chunk(b"IEND")])


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8))


BOMBS: Mapping[str, Callable[[], bytes]] = {
    "arithmetic coding": arithmetic,
    "scans of a large JPEG": lambda: endless_scans(grey(8000, 8000), 4 * MIB),
    "scans of a thin JPEG": lambda: endless_scans(grey(1, 60_000, "CMYK"), 320_000),
    "scans of a wide JPEG": lambda: endless_scans(grey(60_000, 1, "CMYK"), 320_000),
    "scans of a tiny JPEG": lambda: endless_scans(grey(8, 8), 8 * MIB),
    "progressive 200 megapixels": lambda: endless_scans(grey(16_000, 12_500, "RGB"), 0, subsampling=0),
    "EXIF in 900 segments": exif_segments,
    "four million segments": tiny_segments,
    "comments in a GIF": lambda: comment_blocks(60 * MIB, 255),
    "one-byte comments in a GIF": lambda: comment_blocks(20 * MIB, 1),
    "frames on a large screen": lambda: gif([gif_frame(2, 2)] * 5000, 8000, 8000),
    "frames on a small screen": lambda: gif([gif_frame(2, 2)] * 60_000, 60, 60),
    "a frame beyond the screen": lambda: gif([gif_frame(60_000, 60_000)], 10, 10),
    "40 bytes of WebP": lambda: lossless_webp(8000),
    "40 bytes of large WebP": lambda: lossless_webp(16_383),
    "a WebP canvas": lambda: webp(16_384, b""),
    "a size in AVIF": lambda: with_declared_size("AVIF", 8000),
    "a large size in AVIF": lambda: with_declared_size("AVIF", 65_000),
    "a size in HEIC": lambda: with_declared_size("HEIF", 7000),
    "a large size in HEIC": lambda: with_declared_size("HEIF", 65_000),
    "81 megapixels of PNG": lambda: png_of(9000, 9000),
    "64 megapixels of PNG": lambda: png_of(8190, 8190, 8, 6),
    "64 megapixels of PNG with 16 bits": lambda: png_of(8190, 8190, 16, 6),
    "a size in PNG": lambda: SIGNATURE + header(8190, 8190, 8, 6) + chunk(b"IDAT", zlib.compress(b"\0")),
    "interlaced PNG": lambda: interlaced(6000),
    "texts that unpack to much": lambda: png_texts(b"zTXt", b"a\0\0" + zlib.compress(bytes(64 * MIB), 9), 500),
    "a profile that unpacks to much": lambda: png_texts(b"iCCP", b"a\0\0" + zlib.compress(bytes(900 * MIB), 9), 1),
    "many chunks": lambda: png_texts(b"tEXt", b"a\0b", 1_000_000),
    "frames of a large APNG": lambda: large_apng(6000, 900),
    "tags of a TIFF": tiff_of_tags,
    "strips of a TIFF": lambda: tiff_of_strips(3_000_000),
    "less strips of a TIFF": lambda: tiff_of_strips(90_000),
    "entries of an icon": lambda: icon(65_535),
    "run lengths": lambda: run_lengths(5000, 40 * MIB),
    "short run lengths": lambda: run_lengths(5000, 3 * MIB),
    "a gzip": lambda: gzip.compress(bytes(2000 * MIB), 9),
    "a size in JPEG XL": lambda: jxl(7450),
    "a large size in JPEG XL": lambda: jxl(1 << 29),
    "tiles of a JPEG 2000": lambda: jpeg2000(8000, 2),
    "a size in JPEG 2000": lambda: jpeg2000(60_000, 60_000),
}
