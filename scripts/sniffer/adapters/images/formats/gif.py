"""GIF (GIF89a specification): blocks and frames."""

from __future__ import annotations

from dataclasses import dataclass, field

from sniffer.adapters.images.survey import MAX_STEPS, Cost, Malformed, Survey, sample, too_many

_IMAGE, _EXTENSION, _CONTROL = 0x2C, 0x21, 0xF9
_MAX_BLOCKS = 2_000_000
"""Blocks of 255 bytes are usual. Python takes 0.1 µs for each."""

# Measured, on the safe side. Frames behind the first are composed in colour.
_PIXEL_S = 8e-9
_COMPOSED_PIXEL_S = 20e-9


@dataclass(slots=True)
class _Walk:
    """`frames`: start and end of each one's blocks, with its control block, without comments."""

    data: bytes
    at: int
    blocks: int = 0
    is_cut: bool = False
    is_interlaced: bool = False
    frames: list[list[slice]] = field(default_factory=list)

    def skip_blocks(self) -> None:
        data, at = self.data, self.at
        while at < len(data) and data[at]:
            at += 1 + data[at]
            self.blocks += 1
            if self.blocks > _MAX_BLOCKS:
                raise too_many("blocks in a GIF")
        self.is_cut = at >= len(data)
        self.at = at + 1


def survey_gif(data: bytes, max_pixels: int) -> Survey:
    """Comments and other extensions are left out: they are bounded by nothing but the file. Raises Malformed."""
    start = 13 + _table_bytes(data[10]) if len(data) > 13 else 0
    walk = _Walk(data, start)
    width, height = _canvas(_walk_frames(walk), data)
    pixels = width * height
    chosen = sample(len(walk.frames), pixels, max_pixels)
    kept = [data[part] for index in chosen for part in walk.frames[index]]
    animated = len(chosen) > 1
    cpu_s = pixels * _PIXEL_S + pixels * (len(chosen) - 1) * _COMPOSED_PIXEL_S
    return Survey(
        "GIF",
        # Behind a frame that ends early, the trailer would be taken for its data.
        b"".join([data[:start], *kept, b"" if walk.is_cut else b";"]),
        (width, height),
        Cost(pixels * len(chosen), cpu_s, pixels * (14 if animated else 2)),
        frames=tuple(index + 1 for index in chosen),
        is_interlaced=walk.is_interlaced,
    )


def _walk_frames(walk: _Walk) -> list[tuple[int, int]]:
    """Fill in the frames; returns the lower right corner of each."""
    data, corners, control = walk.data, list[tuple[int, int]](), list[slice]()
    for _ in range(MAX_STEPS):
        if walk.at + 2 > len(data) or data[walk.at] not in (_IMAGE, _EXTENSION):
            break
        start = walk.at
        if data[start] == _EXTENSION:
            walk.at += 2
            walk.skip_blocks()
            if data[start + 1] == _CONTROL:
                control = [slice(start, walk.at)]
            continue
        if start + 11 > len(data):
            break
        left, top, wide, high = (int.from_bytes(data[at : at + 2], "little") for at in range(start + 1, start + 9, 2))
        corners.append((left + wide, top + high))
        if not walk.frames:
            walk.is_interlaced = bool(data[start + 9] & 0x40)
        walk.at += 11 + _table_bytes(data[start + 9])
        walk.skip_blocks()
        walk.frames.append([*control, slice(start, walk.at)])
        control = []
    else:
        raise too_many("frames and extensions in a GIF")
    if not walk.frames:
        raise Malformed("it holds no picture")
    return corners


def _table_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _canvas(corners: list[tuple[int, int]], data: bytes) -> tuple[int, int]:
    """The screen's size; frames that reach over its edge make it larger."""
    screen = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    return max(screen[0], *(x for x, _ in corners)), max(screen[1], *(y for _, y in corners))
