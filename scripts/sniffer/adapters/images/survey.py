"""What is known of a file before it is decoded, and the most that decoding it may cost."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sniffer.core.errors import UnreadableImage

MAX_CPU_S = 2.6
"""An estimate, so somewhat below the 3 s that any file may take."""
MAX_MEMORY_BYTES = 850 << 20
"""An estimate as well: with the program itself, below 1 GiB."""
MAX_STEPS = 100_000
"""Markers, chunks, strips or boxes of one file. Ordinary files have some ten, or one per 8 KiB."""
MAX_PROFILE_BYTES = 4 << 20
"""Of a colour profile; those for print have 2 to 3 MiB."""


@dataclass(frozen=True, slots=True)
class Cost:
    """`pixels`: those that are really decoded, of all frames; `memory_bytes`: on top of the file itself."""

    pixels: int
    cpu_s: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What a file holds. `data`: what its decoder gets: the picture, in most formats freed from metadata.

    `frames`: the numbers, from 1, of the frames that `data` holds. `first`: the index of the first one that is shown.
    `orientation` as in EXIF; `gamma`, `profile` (ICC): how the file says its values are meant. `is_cut`: the file ends
    before its picture does. `is_interlaced`: the first frame comes in passes. `twin`: `data` whose missing end is
    filled up in another way; where the two pictures differ, nothing is known.
    """

    kind: str
    data: bytes
    size: tuple[int, int]
    cost: Cost
    frames: tuple[int, ...] = (1,)
    first: int = 0
    orientation: int = 1
    gamma: float | None = None
    profile: bytes | None = None
    is_cut: bool = False
    is_interlaced: bool = False
    twin: bytes | None = None


class Malformed(ValueError):
    """The structure of a file cannot be read."""


def check(survey: Survey, max_pixels: int) -> None:
    """Raise UnreadableImage if decoding would cost more than any file may."""
    width, height = survey.size
    cost = survey.cost
    if cost.pixels > max_pixels:
        raise UnreadableImage(
            "over_pixel_limit", f"{width} x {height}: {cost.pixels:,} pixels to decode; the limit is {max_pixels:,}"
        )
    if cost.cpu_s > MAX_CPU_S:
        raise over_cost(f"{width} x {height} pixels of {survey.kind} would take {cost.cpu_s:.1f} s of CPU")
    if cost.memory_bytes > MAX_MEMORY_BYTES:
        raise over_cost(f"{width} x {height} pixels of {survey.kind} would take {cost.memory_bytes >> 20:,} MiB")


def over_cost(what: str) -> UnreadableImage:
    """The refusal of a file that would cost too much."""
    return UnreadableImage("over_cost_limit", what)


def too_many(what: str) -> UnreadableImage:
    """The refusal of a file of endless parts."""
    return over_cost(f"more than {MAX_STEPS:,} {what}")


def sample(count: int, pixels: int, max_pixels: int) -> tuple[int, ...]:
    """Indices of the frames to decode: all if they fit into the pixel limit, else evenly spread ones, both ends in.

    At least one, whatever its size: `check` sees to that.
    """
    fitting = max(1, min(count, max_pixels // max(1, pixels), _MAX_FRAMES))
    if fitting == 1:
        return (0,)
    return tuple(math.floor(index * (count - 1) / (fitting - 1) + 0.5) for index in range(fitting))


_MAX_FRAMES = 2000
"""Each frame costs about 20 µs, however small."""
