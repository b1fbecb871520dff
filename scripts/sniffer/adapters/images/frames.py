"""The frames of a file that are shown to the model: of a still its picture; of an animation the first, the middle, the
last, and the one behind the largest change."""

from __future__ import annotations

import dataclasses
from contextlib import closing

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sniffer.adapters.images.colours import straight
from sniffer.adapters.images.formats.exif import orientation_of
from sniffer.adapters.images.formats.jpeg import scale_of
from sniffer.adapters.images.jxl_frames import JxlImage
from sniffer.adapters.images.opening import opened
from sniffer.adapters.images.refusals import DECODE_ERRORS
from sniffer.adapters.images.squares import square
from sniffer.adapters.images.survey import Survey

_THUMB = (32, 32)
_CHANGE = 2.0
"""Grey levels on average; compression alone changes less."""

Thumb = NDArray[np.int16]
Frame = tuple[int, Image.Image]
"""A frame's number, from 1, and its picture on the square, RGB or RGBA."""


def frames_of(survey: Survey, max_pixels: int, *, first_only: bool = False) -> tuple[list[Frame], bool]:
    """The frames, and whether all of them could be read: behind the first, viewers show as many as they can."""
    with closing(opened(survey, survey.data)) as image:
        survey = _with_frames(survey, image, max_pixels)
        if first_only or len(survey.frames) == 1:
            _go_to(image, survey, 0)
            return [(survey.frames[0], shown(image, survey))], not _is_cut(image)
        frames, readable = _walk(image, survey)
    if readable == len(survey.frames):
        return frames, not _is_cut(image)
    cut = dataclasses.replace(survey, frames=survey.frames[:readable])
    with closing(opened(survey, survey.data)) as image:
        return _walk(image, cut)[0], False


def _is_cut(image: Image.Image) -> bool:
    return isinstance(image, JxlImage) and image.is_cut


def shown(image: Image.Image, survey: Survey) -> Image.Image:
    """A loaded image on the square, in the colours of a screen."""
    size: tuple[float, float] = image.size
    if survey.kind == "JPEG":
        scale = scale_of(*survey.size)
        size = survey.size[0] / scale, survey.size[1] / scale
    small = square(image, size, orientation=survey.orientation, gamma=survey.gamma)
    return straight(small, survey.profile or image.info.get("icc_profile"))


def _with_frames(survey: Survey, image: Image.Image, max_pixels: int) -> Survey:
    """Frames of JPEG XL, and AVIF's and its orientation, are known to their decoders only."""
    if isinstance(image, JxlImage):
        return dataclasses.replace(survey, frames=tuple(range(1, image.n_frames + 1)))
    if survey.kind != "AVIF":
        return survey
    pixels = image.width * image.height
    fitting = max(1, min(getattr(image, "n_frames", 1), max_pixels // pixels, _AVIF_PIXELS // pixels))
    orientation = orientation_of(image.info.get("exif", b""))
    return dataclasses.replace(survey, frames=tuple(range(1, fitting + 1)), orientation=orientation)


_AVIF_PIXELS = 64_000_000


def _go_to(image: Image.Image, survey: Survey, index: int) -> None:
    if index or survey.first:
        image.seek(survey.first + index)
    image.load()


def _walk(image: Image.Image, survey: Survey) -> tuple[list[Frame], int]:
    """The chosen frames, in order, and how many can be read.

    What a frame changes is how unlike it is to the one before, and to those that are chosen already: the way back from
    a picture that was there for a moment is no news.
    """
    last = len(survey.frames) - 1
    fixed = (0, (last + 1) // 2, last)
    chosen: dict[int, Image.Image] = {}
    known: list[Thumb] = []
    before: Thumb | None = None
    largest, changed = _CHANGE, None
    for index in range(last + 1):
        thumb = _thumb(image, survey, index)
        if thumb is None:
            return [], index
        if index in fixed:
            chosen[index] = shown(image, survey)
            known.append(thumb)
        elif before is not None:
            change = min(float(np.abs(thumb - other).mean()) for other in (before, *known))
            if change > largest:
                largest, changed = change, (index, shown(image, survey))
        before = thumb
    if changed is not None:
        chosen[changed[0]] = changed[1]
    return [(survey.frames[index], chosen[index]) for index in sorted(chosen)], last + 1


def _thumb(image: Image.Image, survey: Survey, index: int) -> Thumb | None:
    """Go to a frame; some of its pixels, or None if it cannot be read. Raises if it is the first."""
    try:
        _go_to(image, survey, index)
    except DECODE_ERRORS:
        if index == 0:
            raise
        return None
    return np.asarray(image.resize(_THUMB, Image.Resampling.NEAREST).convert("RGBA").convert("RGBa")).astype(np.int16)
