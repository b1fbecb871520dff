"""What kind of file these bytes are, by their first ones."""

from __future__ import annotations

from sniffer.adapters.images.formats.boxes import brand_of

DECODABLE = (
    "JPEG",
    "PNG",
    "GIF",
    "WebP",
    "AVIF",
    "HEIC",
    "BMP",
    "TIFF",
    "icon",
    "JPEG 2000",
    "JPEG XL",
)
OTHER_IMAGES = ("Photoshop", "SVG")
_MAGIC = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WebP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II\0*", "TIFF"),
    (0, b"MM*\0", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\0\0\1\0", "icon"),
    (0, b"\0\0\2\0", "icon"),
    (8, b"AVI ", "video"),
    (0, b"\x1aE\xdf\xa3", "video"),
    (0, b"\0\0\1\xba", "video"),
    (0, b"%PDF", "PDF"),
    (0, b"PK\3\4", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
)


def kind_of(data: bytes) -> str:
    """A name for a person; "unknown data" if nothing is known of such a beginning."""
    for offset, magic, kind in _MAGIC:
        if data.startswith(magic, offset):
            return kind
    if data.startswith(b"ftyp", 4):
        return brand_of(data) or "video"
    start = data[:1024]
    if _is_text(start):
        return _kind_of_text(start.lstrip(b"\xef\xbb\xbf \t\r\n").lower())
    return "BMP" if start.startswith(b"BM") else "unknown data"


def _kind_of_text(start: bytes) -> str:
    if not start.startswith(b"<"):
        return "JSON" if start.startswith((b"{", b"[")) else "text"
    if b"<html" in start or start.startswith((b"<!doctype html", b"<head", b"<body")):
        return "HTML"
    return "SVG" if b"<svg" in start else "XML"


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:
            return False
        # The sample may end within a character.
        text = start[: error.start].decode("utf-8")
    return all(character.isprintable() or character in "\t\r\n\f\ufeff" for character in text)
