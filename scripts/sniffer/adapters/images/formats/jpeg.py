"""JPEG (ITU-T T.81): markers, scans, blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from sniffer.adapters.images.formats.exif import orientation_of
from sniffer.adapters.images.survey import (
    MAX_CPU_S,
    MAX_PROFILE_BYTES,
    MAX_STEPS,
    Cost,
    Malformed,
    Survey,
    over_cost,
    too_many,
)
from sniffer.core.errors import UnreadableImage
from sniffer.core.model_records import IMAGE_SIDE

_SOI, _EOI, _SOS, _APP0, _APP1, _APP2, _APP14 = 0xD8, 0xD9, 0xDA, 0xE0, 0xE1, 0xE2, 0xEE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = 0xC2
_BEGIN, _END = b"\xff\xd8", b"\xff\xd9"
_SHOWN = (0xC0, 0xC1, _PROGRESSIVE)
"""Baseline, extended and progressive Huffman coding; what no browser shows is lossless, hierarchical, arithmetic."""
_ARITHMETIC = range(0xC9, 0xD0)
_NEEDED = frozenset({0xC4, 0xDB, 0xDD, _APP14}) | _FRAMES
_FILL = re.compile(rb"\xff+")
_BEHIND_A_SCAN = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")
_BEGUN_SEGMENT = re.compile(rb"\xff[\xc0-\xcf\xda-\xfe].?\Z", re.DOTALL)
_ALONE = frozenset(range(0xD0, 0xD9)) | {0x00, 0x01}

# Measured with libjpeg-turbo, on the safe side.
_BLOCK_VISIT_S = 40e-9
_BASELINE_BYTE_S = 6e-9
_PROGRESSIVE_BYTE_S = 25e-9
_PIXEL_S = 3e-9
_SCAN_S = 12e-6
_BLOCK_BYTES = 128


@dataclass(slots=True)
class _Header:
    """Everything before the entropy-coded data."""

    kept: list[bytes] = field(default_factory=lambda: [b"\xff\xd8"])
    exif: bytes = b""
    profile: list[bytes] = field(default_factory=list)
    coding: int = 0
    size: tuple[int, int] = (0, 0)
    blocks: dict[int, int] = field(default_factory=dict)  # of each component, padding included
    end: int = 0  # where the first scan's header begins


def survey_jpeg(data: bytes) -> Survey:
    """Raises UnreadableImage for what no browser shows, and for files of endless scans; Malformed."""
    header = _header(data)
    if header.coding not in _SHOWN:
        coding = "arithmetic coding" if header.coding in _ARITHMETIC else "lossless or hierarchical coding"
        raise UnreadableImage("unsupported", f"JPEG images with {coding} are not supported: no browser shows them")
    picture = b"".join([*header.kept, memoryview(data)[header.end :]])
    return Survey(
        "JPEG",
        picture,
        header.size,
        _cost(data, header),
        orientation=orientation_of(header.exif),
        profile=_profile(header.profile),
        is_cut=_END not in picture,
    )


def up_to_last_segment(data: bytes) -> bytes:
    """A JPEG without the segment that it ends in: a decoder would take whatever comes behind it for its content.

    Nor with what begins anew behind or within a scan, another image or frame, at which a decoder gives up.
    """
    has_scan = False
    for marker, at, end in _segments(data, 2):
        if end > len(data) or (has_scan and marker in _FRAMES):
            return data[:at]
        if marker == _SOS:
            has_scan = True
            anew = data.find(_BEGIN, end, _next_marker(data, end))
            if anew >= 0:
                return data[:anew]
    begun = _BEGUN_SEGMENT.search(data)
    return data[: begun.start()] if begun else data


def scale_of(width: int, height: int) -> int:
    """By how much libjpeg divides each side while it decodes: what Pillow's `draft` to our square chooses."""
    ratio = min(width, height) // IMAGE_SIDE
    return next(scale for scale in (8, 4, 2, 1) if ratio >= scale or scale == 1)


def _header(data: bytes) -> _Header:
    header = _Header()
    for marker, at, end in _segments(data, 2):
        if marker == _SOS:
            header.end = at
            if end >= len(data):
                break
            return header
        body = data[at + 4 : end]
        if marker in _NEEDED or (marker == _APP0 and body.startswith(b"JFIF")):
            header.kept.append(data[at:end])
        if marker in _FRAMES:
            _read_frame(header, marker, body)
        elif marker == _APP1 and not header.exif and body.startswith(b"Exif\0\0"):
            header.exif = body
        elif marker == _APP2 and body.startswith(b"ICC_PROFILE\0"):
            header.profile.append(body)
    raise Malformed("no picture data")


def _segments(data: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment from here on; scans' data are skipped, as is what lies between segments."""
    for _ in range(MAX_STEPS):
        at = data.find(b"\xff", at)
        if at < 0 or at + 4 > len(data):
            return
        # Any number of them may fill up the space before a marker.
        at = _end_of_fill(data, at) - 1
        if at + 4 > len(data):
            return
        marker = data[at + 1]
        if marker in _ALONE:
            at += 2
        elif marker == _EOI:
            return
        else:
            end = at + 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
            yield marker, at, end
            at = _next_marker(data, end) if marker == _SOS else end
    raise too_many("markers in a JPEG")


def _end_of_fill(data: bytes, at: int) -> int:
    filled = _FILL.match(data, at)
    return filled.end() if filled else at + 1


def _next_marker(data: bytes, at: int) -> int:
    """Behind a scan. Within it, a byte of 255 is followed by a 0, or by the number of a restart."""
    found = _BEHIND_A_SCAN.search(data, at)
    return found.start() if found else len(data)


def _read_frame(header: _Header, marker: int, body: bytes) -> None:
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        raise Malformed("its frame header ends early")
    width, height = int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big")
    parts = [(body[at], body[at + 1] >> 4, body[at + 1] & 15) for at in range(6, 6 + 3 * body[5], 3)]
    across, down = max((part[1] for part in parts), default=0), max((part[2] for part in parts), default=0)
    if not (width and height and across and down):
        raise Malformed("its frame header names no size")
    columns, rows = -(-width // (8 * across)), -(-height // (8 * down))
    header.coding, header.size = marker, (width, height)
    header.blocks = {name: columns * rows * wide * high for name, wide, high in parts}


def _cost(data: bytes, header: _Header) -> Cost:
    scale = scale_of(*header.size)
    width, height = header.size
    pixels = -(-width // scale) * -(-height // scale)
    blocks = sum(header.blocks.values())
    components = data[header.end + 4]
    fixed = blocks * _BLOCK_VISIT_S + blocks * 64 // scale**2 * _PIXEL_S
    if header.coding != _PROGRESSIVE and components == len(header.blocks):
        # One scan holds all: libjpeg stops behind it.
        return Cost(pixels, fixed + len(data) * _BASELINE_BYTE_S, 6 * pixels)
    cpu_s = fixed + len(data) * _PROGRESSIVE_BYTE_S
    for marker, at, end in _segments(data, header.end):
        if marker == _SOS:
            cpu_s += _SCAN_S + _BLOCK_VISIT_S * _visited(header, data[at + 4 : end])
        if cpu_s > MAX_CPU_S:
            raise over_cost(f"the scans of a JPEG of {width} x {height} pixels would take more than {MAX_CPU_S} s")
    return Cost(pixels, cpu_s, 6 * pixels + _BLOCK_BYTES * blocks)


def _visited(header: _Header, scan: bytes) -> int:
    names = scan[1 : 1 + 2 * scan[0] : 2] if scan else b""
    return sum(header.blocks.get(name, 0) for name in names)


def _profile(parts: list[bytes]) -> bytes | None:
    """The ICC profile: each part has a number and the count of all (ICC.1, annex B.4)."""
    whole = b"".join(part[14:] for part in sorted(parts, key=lambda part: part[12:13]))
    if not parts or parts[0][13:14] != bytes([len(parts) & 255]) or len(whole) > MAX_PROFILE_BYTES:
        return None
    return whole
