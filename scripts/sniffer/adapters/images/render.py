"""The decoding stage: encoded bytes of one image in, what viewers show of it out, or UnreadableImage with a reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sniffer.adapters.images.backgrounds import backgrounds, differ
from sniffer.adapters.images.damaged import TOLERANT, salvaged
from sniffer.adapters.images.formats.bitmap import survey_bmp, survey_icon
from sniffer.adapters.images.formats.boxes import survey_boxes
from sniffer.adapters.images.formats.gif import survey_gif
from sniffer.adapters.images.formats.jpeg import survey_jpeg
from sniffer.adapters.images.formats.jpeg2000 import survey_jpeg2000
from sniffer.adapters.images.formats.jxl import survey_jxl
from sniffer.adapters.images.formats.png import survey_png
from sniffer.adapters.images.formats.tiff import survey_tiff
from sniffer.adapters.images.formats.webp import survey_webp
from sniffer.adapters.images.frames import Frame, frames_of
from sniffer.adapters.images.kinds import kind_of
from sniffer.adapters.images.refusals import DECODE_ERRORS, refusal
from sniffer.adapters.images.survey import Survey, check
from sniffer.adapters.images.wrapping import unwrapped
from sniffer.core.errors import UnreadableImage
from sniffer.core.text import one_line

_SURVEYS: Mapping[str, Callable[[bytes, int], Survey]] = {
    "JPEG": lambda data, _: survey_jpeg(data),
    "PNG": survey_png,
    "GIF": survey_gif,
    "WebP": survey_webp,
    "AVIF": lambda data, _: survey_boxes(data, "AVIF"),
    "HEIC": lambda data, _: survey_boxes(data, "HEIC"),
    "BMP": lambda data, _: survey_bmp(data),
    "TIFF": lambda data, _: survey_tiff(data),
    "icon": survey_icon,
    "JPEG 2000": lambda data, _: survey_jpeg2000(data),
    "JPEG XL": lambda data, _: survey_jxl(data),
}
_LIMIT = 64 * 1024 * 1024
_MAX_RENDERINGS = 8


@dataclass(frozen=True, slots=True)
class Rendering:
    """One way in which viewers show a file. `pixels`: C-contiguous uint8 of IMAGE_SHAPE, RGB.

    The name says which: "frame 12", "on black", "frame 12 on black", "alpha"; None: the only one.
    """

    name: str | None
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Picture:
    """What a person sees of one file: at least one rendering. `partial`: it is damaged, and viewers show a part.

    `size`: width and height in which viewers show it, upright; for its proportions, in pixels of the file.
    """

    renderings: tuple[Rendering, ...]
    partial: bool
    size: tuple[int, int]


def render(data: bytes, *, max_pixels: int = _LIMIT, max_bytes: int = _LIMIT) -> Picture:
    """All renderings of the whole picture, the ordinary one first; at most 8.

    Turned upright by its orientation, in the colours of a screen. Transparency is laid onto white and onto black, if
    that makes a difference; of an animation there are several frames. `max_pixels` counts what is really decoded: of a
    large JPEG a part, of an animation all frames. What the file would cost is estimated before any pixel is decoded.
    Whatever the bytes are, raises UnreadableImage and nothing else but MemoryError; its codes: empty, over_byte_limit,
    over_pixel_limit, over_cost_limit, not_an_image, unsupported, truncated, corrupt. May be called from many threads.
    """
    frames, partial, size = _frames(data, max_pixels, max_bytes, first_only=False)
    return Picture(tuple(_distinct(frames))[:_MAX_RENDERINGS], partial, size)


def decode(data: bytes, *, max_pixels: int = _LIMIT, max_bytes: int = _LIMIT) -> NDArray[np.uint8]:
    """The pixels of the first rendering, for those who need one picture of a file; limits and errors as of `render`."""
    frames, _, _ = _frames(data, max_pixels, max_bytes, first_only=True)
    return next(pixels for _, pixels in backgrounds(frames[0][1]))


def _frames(
    data: bytes, max_pixels: int, max_bytes: int, *, first_only: bool
) -> tuple[Sequence[Frame], bool, tuple[int, int]]:
    if not data:
        raise UnreadableImage("empty", "the object has no bytes")
    if len(data) > max_bytes:
        raise UnreadableImage("over_byte_limit", f"{len(data):,} bytes; the limit is {max_bytes:,}")
    data = unwrapped(data, max_bytes)
    try:
        survey = _surveyed(data, max_pixels)
        check(survey, max_pixels)
        return *_read(survey, max_pixels, first_only), _upright(survey)
    except DECODE_ERRORS as error:
        if "memory" in str(error):
            raise MemoryError(one_line(error, 200)) from error
        raise refusal(data, error) from error


def _surveyed(data: bytes, max_pixels: int) -> Survey:
    survey = _SURVEYS.get(kind_of(data))
    if survey is None:
        raise ValueError("no decoder")
    return survey(data, max_pixels)


def _upright(survey: Survey) -> tuple[int, int]:
    """The size as it is shown: the last four of EXIF's eight orientations lie on their side."""
    width, height = survey.size
    return (height, width) if survey.orientation >= 5 else (width, height)


def _read(survey: Survey, max_pixels: int, first_only: bool) -> tuple[Sequence[Frame], bool]:
    if survey.twin is None and not (survey.is_cut and survey.kind == "JPEG"):
        try:
            frames, is_whole = frames_of(survey, max_pixels, first_only=first_only)
        except DECODE_ERRORS as error:
            if survey.kind not in TOLERANT or "memory" in str(error):
                raise
        else:
            return frames, survey.is_cut or not is_whole
    picture = salvaged(survey)
    if picture is None:
        raise EOFError("truncated: nothing of the picture is there")
    return [(survey.frames[0], picture)], True


def _distinct(frames: Sequence[Frame]) -> Sequence[Rendering]:
    """The renderings that a person can tell from each other. Frames are named if there are several."""
    kept = list[tuple[int, str | None, NDArray[np.uint8]]]()
    for number, frame in frames:
        for ground, pixels in backgrounds(frame):
            if not any(not differ(pixels, other) for _, _, other in kept):
                kept.append((number, ground, pixels))
    several = len({number for number, _, _ in kept}) > 1
    return [
        Rendering(" ".join(filter(None, (f"frame {number}" if several else None, ground))) or None, pixels)
        for number, ground, pixels in kept
    ]
