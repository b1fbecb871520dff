"""WebP (RFC 9649): chunks of a RIFF file, and frames."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sniffer.adapters.images.formats.exif import orientation_of
from sniffer.adapters.images.survey import MAX_PROFILE_BYTES, MAX_STEPS, Cost, Malformed, Survey, sample, too_many

# Measured, on the safe side: the decoder's canvas is held four times on the way into Pillow. Lossless pixels are kept
# once more while they are decoded; of lossy ones a few rows are.
_PIXEL_S = 25e-9
_PIXEL_BYTES = 20
_LOSSY_PIXEL_BYTES = 17
_METADATA, _ALPHA, _ANIMATION = 0x2C, 0x10, 0x02
_MARK = b"\xff" * 8
_STILL = (b"VP8 ", b"VP8L")
_PICTURE = (*_STILL, b"ALPH", b"ANIM", b"ANMF")


@dataclass(frozen=True, slots=True)
class _Chunk:
    name: bytes
    body: bytes
    length: int

    @property
    def is_cut(self) -> bool:
        return len(self.body) < self.length


def survey_webp(data: bytes, max_pixels: int) -> Survey:
    """A picture that ends early is filled up, since its decoder wants all that was promised. Raises Malformed."""
    read = list(_chunks(data))
    chunks = {chunk.name: chunk for chunk in read}
    picture = [chunk for chunk in read if chunk.name in _PICTURE]
    frames = [chunk for chunk in picture if chunk.name == b"ANMF"]
    is_cut = bool(picture) and picture[-1].is_cut
    if is_cut and len(frames) > 1:
        frames.pop()
    size = _size(read)
    pixels = size[0] * size[1]
    times = 2 if is_cut else 1  # it is then decoded twice, side by side
    chosen = sample(len(frames), pixels, max_pixels) if frames else (0,)
    kept = [chunk for chunk in picture if chunk.name != b"ANMF"] + [frames[index] for index in chosen if frames]
    head = [dataclasses.replace(chunks[b"VP8X"], body=_quiet(chunks[b"VP8X"].body))] if b"VP8X" in chunks else []
    is_lossy = {chunk.name for chunk in picture} == {b"VP8 "}
    pixel_bytes = _LOSSY_PIXEL_BYTES if is_lossy else _PIXEL_BYTES
    return Survey(
        "WebP",
        _assembled(head + kept, b""),
        size,
        Cost(pixels * len(chosen), times * pixels * len(chosen) * _PIXEL_S, times * pixels * pixel_bytes),
        frames=tuple(index + 1 for index in chosen),
        orientation=orientation_of(chunks[b"EXIF"].body) if b"EXIF" in chunks else 1,
        profile=chunks[b"ICCP"].body[:MAX_PROFILE_BYTES] if b"ICCP" in chunks else None,
        is_cut=is_cut,
        twin=_assembled(head + kept, _MARK) if is_cut and kept[-1].is_cut else None,
    )


def _chunks(data: bytes) -> Iterator[_Chunk]:
    at = 12
    for _ in range(MAX_STEPS):
        if at + 8 > len(data):
            return
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        yield _Chunk(data[at : at + 4], data[at + 8 : at + 8 + length], length)
        at += 8 + length + (length & 1)
    raise too_many("chunks in a WebP")


def _size(chunks: Sequence[_Chunk]) -> tuple[int, int]:
    for chunk in chunks:
        body = chunk.body
        if chunk.name == b"VP8X" and len(body) >= 10:
            return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
        if chunk.name == b"VP8 " and len(body) >= 10:
            return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
        if chunk.name == b"VP8L" and len(body) >= 5:
            bits = int.from_bytes(body[1:5], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    raise Malformed("its size is missing")


def _quiet(body: bytes) -> bytes:
    """The header of an extended file without the flags of metadata (profile, EXIF, XMP), which is left out.

    An animation is transparent where no frame has drawn yet, whatever its flag says.
    """
    if not body:
        return body
    return bytes([body[0] & ~_METADATA | (_ALPHA if body[0] & _ANIMATION else 0)]) + body[1:]


def _assembled(chunks: Sequence[_Chunk], mark: bytes) -> bytes:
    """The file anew. What is missing of its last chunk is zeros, which decode to next to nothing, behind the mark."""
    parts = [part for chunk in chunks for part in _written(chunk, mark)]
    return b"".join([b"RIFF", (4 + sum(map(len, parts))).to_bytes(4, "little"), b"WEBP", *parts])


def _written(chunk: _Chunk, mark: bytes) -> list[bytes]:
    if not chunk.is_cut:
        return [chunk.name, chunk.length.to_bytes(4, "little"), chunk.body, bytes(chunk.length & 1)]
    # 40 bytes may promise 4 GB; and what stands in for the missing data may be longer than they were.
    length = 2 * (min(chunk.length, 50 * len(chunk.body)) * 5 // 8 + 2048)
    return [
        chunk.name,
        length.to_bytes(4, "little"),
        chunk.body,
        mark.ljust(length - len(chunk.body), b"\0"),
    ]
