"""TIFF 6.0 and BigTIFF: the tags of the first picture."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sniffer.adapters.images.survey import MAX_STEPS, Cost, Malformed, Survey, over_cost, too_many
from sniffer.core.errors import UnreadableImage

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _SAMPLES, _PROFILE = 256, 257, 258, 259, 277, 34675
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_OFFSETS = (273, 324)
_DIRECTORIES = (330, 34665, 34853, 40965)
"""Tags that point to more tags, which Pillow reads as well: sub-pictures, EXIF, GPS, interoperability."""
_VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_MAX_TAGS = 1000
_MAX_TAG_BYTES = 16 << 20
_JPEG = (6, 7)
_LZMA = 34925
_ARITHMETIC = re.compile(rb"\xff[\xc9-\xcb\xcd-\xcf]\0[\x0b-\x17]\x08")

# Measured, on the safe side.
_BYTE_S = 6e-9
_LZMA_BYTE_S = 40e-9
_PIXEL_S = 5e-9
_BLOCK_VISIT_S = 15e-9


@dataclass(frozen=True, slots=True)
class _Tag:
    count: int
    size_bytes: int
    value: int  # the first one, if it is a number


def survey_tiff(data: bytes) -> Survey:
    """Orientation is left to Pillow, which turns TIFFs by itself. Raises Malformed."""
    order = "little" if data.startswith(b"II") else "big"
    is_big = 43 in data[2:4]
    tags = _checked(_Directory(data, order == "little", is_big))
    width, height = _value(tags, _WIDTH, 0), _value(tags, _HEIGHT, 0)
    if not (width and height):
        raise Malformed("it names no size")
    if any(tag in tags and tags[tag].count > MAX_STEPS for tag in _OFFSETS):
        raise too_many("strips or tiles in a TIFF")
    padded = math.prod(
        -(-side // tile) * tile
        for side, tile in (
            (width, _value(tags, _TILE_WIDTH, 0) or width),
            (height, _value(tags, _TILE_HEIGHT, 0) or height),
        )
    )
    depth = max(1, _value(tags, _SAMPLES, 1)) * max(1, _value(tags, _BITS, 1))
    compression = _value(tags, _COMPRESSION, 1)
    cpu_s = padded * depth / 8 * (_LZMA_BYTE_S if compression == _LZMA else _BYTE_S) + padded * _PIXEL_S
    if compression in _JPEG:
        cpu_s += _scans_s(data, tags, padded)
    raw = padded * depth // 8
    return Survey("TIFF", data, (width, height), Cost(width * height, cpu_s, 8 * width * height + raw))


class _Directory:
    """How numbers are written in this file, and where its tags begin."""

    def __init__(self, data: bytes, is_little: bool, is_big: bool) -> None:
        self._data, self._is_little, self._is_big = data, is_little, is_big
        self.start = self._number(8, 8) if is_big else self._number(4, 4)

    def tags(self, start: int) -> Iterator[tuple[int, _Tag]]:
        wide = 8 if self._is_big else 4
        entry_bytes = 4 + 2 * wide
        count = self._number(start, 8 if self._is_big else 2)
        if count > _MAX_TAGS:
            raise over_cost(f"{count:,} tags in a TIFF")
        first = start + (8 if self._is_big else 2)
        for at in range(first, min(first + count * entry_bytes, len(self._data)), entry_bytes):
            kind, values = self._number(at + 2, 2), self._number(at + 4, wide)
            size = _VALUE_BYTES.get(kind, 1) * values
            place = at + 4 + wide if size <= wide else self._number(at + 4 + wide, wide)
            yield self._number(at, 2), _Tag(values, size, self._number(place, min(8, _VALUE_BYTES.get(kind, 1))))

    def _number(self, at: int, length: int) -> int:
        return int.from_bytes(self._data[at : at + length], "little" if self._is_little else "big")


def _checked(directory: _Directory) -> Mapping[int, _Tag]:
    """The first directory's tags. The values of all, and of the directories they point to, are of a bounded size."""
    tags = dict(directory.tags(directory.start))
    everything = list(tags.values())
    for pointer in _DIRECTORIES:
        if pointer in tags:
            everything += [tag for _, tag in directory.tags(tags[pointer].value)]
    total = sum(tag.size_bytes for tag in everything)
    if total > _MAX_TAG_BYTES:
        raise over_cost(f"{total:,} bytes in the tags of a TIFF")
    return tags


def _value(tags: Mapping[int, _Tag], tag: int, default: int) -> int:
    return tags[tag].value if tag in tags else default


def _scans_s(data: bytes, tags: Mapping[int, _Tag], padded: int) -> float:
    """Each strip or tile is a JPEG of its own, progressive ones with several scans."""
    if _ARITHMETIC.search(data):
        raise UnreadableImage("unsupported", "TIFF images with arithmetic coding are not supported")
    pieces = max([tags[tag].count for tag in _OFFSETS if tag in tags], default=1)
    scans = -(-data.count(b"\xff\xda") // max(1, pieces))
    return scans * _value(tags, _SAMPLES, 1) * padded / 64 * _BLOCK_VISIT_S * 4
