"""PNG and APNG (W3C PNG, third edition): chunks, gamma, frames."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sniffer.adapters.images.formats.exif import orientation_of
from sniffer.adapters.images.survey import MAX_PROFILE_BYTES, MAX_STEPS, Cost, Malformed, Survey, sample, too_many

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}

# Measured, on the safe side: inflating and unfiltering a byte, unpacking a pixel.
_BYTE_S = 4e-9
_PIXEL_S = 4e-9


@dataclass(slots=True)
class _Frame:
    """One frame of an animation: its control chunk without the sequence number, and its compressed data."""

    control: bytes
    is_default: bool
    data: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class _Parts:
    header: bytes = b""
    chunks: dict[bytes, bytes] = field(default_factory=dict)
    data: list[bytes] = field(default_factory=list)
    frames: list[_Frame] = field(default_factory=list)
    numbers: list[bytes] = field(default_factory=list)  # of the animation's chunks, in the file's order
    is_late: bool = False  # what makes it an animation comes behind what must follow it


def survey_png(data: bytes, max_pixels: int) -> Survey:
    """Chunks that no viewer needs, checksums and how the data are cut into chunks do not matter. Raises Malformed."""
    parts = _parts(data)
    width, height = int.from_bytes(parts.header[:4], "big"), int.from_bytes(parts.header[4:8], "big")
    pixels = width * height
    frames = _frames(parts)
    chosen = sample(len(frames), pixels, max_pixels) if len(frames) > 1 else (0,)
    hidden_default = bool(frames) and not frames[0].is_default
    decoded = len(chosen) + hidden_default
    return Survey(
        "PNG",
        _assembled(parts, [frames[index] for index in chosen] if frames else []),
        (width, height),
        Cost(
            pixels * len(chosen), decoded * _seconds(parts.header, width, height), pixels * (4 if decoded == 1 else 12)
        ),
        frames=tuple(index + 1 for index in chosen),
        first=int(hidden_default),
        is_interlaced=parts.header[12] == 1,
        orientation=orientation_of(parts.chunks.get(b"eXIf", b"")),
        gamma=_gamma(parts.chunks),
        profile=_profile(parts.chunks.get(b"iCCP", b"")),
    )


def _parts(data: bytes) -> _Parts:
    parts = _Parts()
    for name, body in _chunks(data):
        if name in (b"fcTL", b"fdAT"):
            parts.numbers.append(body[:4])
        elif name == b"acTL":
            parts.is_late = parts.is_late or bool(parts.data or parts.frames)
        if name == b"IHDR" and not parts.header:
            parts.header = body
        elif name == b"IDAT":
            parts.data.append(body)
            if parts.frames and parts.frames[0].is_default:
                parts.frames[0].data.append(body)
        elif name == b"fcTL" and len(body) >= 26:
            parts.frames.append(_Frame(body[4:26], is_default=not parts.data))
        elif name == b"fdAT" and parts.frames:
            parts.frames[-1].data.append(body[4:])
        elif name in (b"PLTE", b"tRNS", b"gAMA", b"sRGB", b"iCCP", b"cICP", b"eXIf", b"acTL"):
            parts.chunks.setdefault(name, body)
    if len(parts.header) < 13 or not parts.data:
        raise Malformed("no header, or no picture data")
    return parts


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and body of each; the last one may end early."""
    at = len(_SIGNATURE)
    for _ in range(MAX_STEPS):
        if at + 8 > len(data):
            return
        length, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if name == b"IEND" or not name.isalpha():
            return
        yield name, data[at + 8 : at + 8 + length]
        at += 12 + length
    raise too_many("chunks in a PNG")


def _frames(parts: _Parts) -> list[_Frame]:
    """Those of an animation, up to the first that cannot be; none if there is no animation.

    Of one that breaks the rules some viewers show the default image instead, so that is among them.
    """
    width, height = parts.header[:4], parts.header[4:8]
    whole = width + height + bytes(8)
    count = int.from_bytes(parts.chunks.get(b"acTL", b"")[:4], "big")
    frames = [frame for frame in parts.frames if frame.data][:count]
    fitting = list(itertools.takewhile(lambda frame: _fits(frame, width, height), frames))
    if fitting and fitting[0].is_default:
        # A part of the default image is no frame: viewers then show all of it.
        fitting[0].control = whole + fitting[0].control[16:]
    is_sound = len(fitting) == len(frames) and not parts.is_late and _is_in_order(parts.numbers)
    if fitting and not fitting[0].is_default:
        if not is_sound:
            fitting.insert(0, _Frame(whole + bytes(6), is_default=True, data=parts.data))
        elif fitting[0].control[:16] == whole:
            # In the default image's place, so that it is not laid over that one.
            fitting[0].is_default = True
    return fitting


def _is_in_order(numbers: Sequence[bytes]) -> bool:
    return all(int.from_bytes(number, "big") == place for place, number in enumerate(numbers))


def _fits(frame: _Frame, width: bytes, height: bytes) -> bool:
    wide, high, left, top = (int.from_bytes(frame.control[at : at + 4], "big") for at in range(0, 16, 4))
    inside = left + wide <= int.from_bytes(width, "big") and top + high <= int.from_bytes(height, "big")
    return bool(wide and high) and inside


def _assembled(parts: _Parts, frames: Sequence[_Frame]) -> bytes:
    """The file anew: only what the picture needs, each kind of data in one chunk, sums and sequence numbers right."""
    out = [_SIGNATURE, _chunk(b"IHDR", parts.header)]
    out += [_chunk(name, parts.chunks[name]) for name in (b"PLTE", b"tRNS") if name in parts.chunks]
    if not frames:
        return b"".join([*out, *_chunk_of(b"IDAT", parts.data), _chunk(b"IEND", b"")])
    out.append(_chunk(b"acTL", len(frames).to_bytes(4, "big") + bytes(4)))
    if not frames[0].is_default:
        out += _chunk_of(b"IDAT", parts.data)
    sequence = itertools.count()
    for frame in frames:
        out.append(_chunk(b"fcTL", next(sequence).to_bytes(4, "big") + frame.control))
        if frame.is_default:
            out += _chunk_of(b"IDAT", frame.data)
        else:
            out += _chunk_of(b"fdAT", [next(sequence).to_bytes(4, "big"), *frame.data])
    return b"".join([*out, _chunk(b"IEND", b"")])


def _chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + name + body + zlib.crc32(body, zlib.crc32(name)).to_bytes(4, "big")


def _chunk_of(name: bytes, pieces: Sequence[bytes]) -> list[bytes]:
    """Of picture data, whose checksum Pillow does not read: zlib has its own."""
    return [sum(map(len, pieces)).to_bytes(4, "big"), name, *pieces, bytes(4)]


def _seconds(header: bytes, width: int, height: int) -> float:
    row = 1 + (width * header[8] * _CHANNELS.get(header[9], 4) + 7) // 8
    return row * height * _BYTE_S + width * height * _PIXEL_S


def _gamma(chunks: dict[bytes, bytes]) -> float | None:
    """gAMA, unless a chunk that says more about colours overrides it."""
    if b"gAMA" not in chunks or b"sRGB" in chunks or b"iCCP" in chunks or b"cICP" in chunks:
        return None
    gamma = int.from_bytes(chunks[b"gAMA"][:4], "big") / 100_000
    return gamma if gamma > 0 else None


def _profile(chunk: bytes) -> bytes | None:
    """The ICC profile of an iCCP chunk: a name, a zero, the method (zero), and the profile, compressed."""
    inflate = zlib.decompressobj()
    try:
        profile = inflate.decompress(chunk.partition(b"\0")[2][1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return None
    return profile if inflate.eof else None
