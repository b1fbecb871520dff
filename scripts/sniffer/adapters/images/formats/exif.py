"""EXIF: the orientation, and nothing else. Reading all of it is what makes bombs of it."""

from __future__ import annotations

_ORIENTATION_TAG = 0x0112
_MAX_TAGS = 1000


def orientation_of(exif: bytes) -> int:
    """1 to 8. Broken EXIF gives 1: browsers then show the picture as it is.

    The layout: TIFF 6.0, section 2; the tag: EXIF 2.32, section 4.6.4.
    """
    exif = exif.removeprefix(b"Exif\0\0")
    if exif[:2] not in (b"II", b"MM"):
        return 1

    def number(at: int, length: int) -> int:
        return int.from_bytes(exif[at : at + length], "little" if exif.startswith(b"II") else "big")

    start = number(4, 4)
    for entry in range(start + 2, start + 2 + 12 * min(number(start, 2), _MAX_TAGS), 12):
        if number(entry, 2) == _ORIENTATION_TAG:
            value = number(entry + 8, 2 if number(entry + 2, 2) == 3 else 4)
            return value if 1 <= value <= 8 else 1
    return 1
