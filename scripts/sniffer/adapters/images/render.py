"""The decoding stage: encoded bytes of one image in, what viewers show of it out, or UnreadableImage with a reason."""

from __future__ import annotations

import io
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Each plugin registers its format on import. Left to itself, Pillow would import all of its forty or so.
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from sniffer.adapters.images.refusals import DECODE_ERRORS, refusal
from sniffer.adapters.images.squares import square_rgb
from sniffer.core.errors import UnreadableImage

_FORMATS = tuple(
    plugin.format
    for plugin in (
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        WebPImagePlugin.WebPImageFile,
        GifImagePlugin.GifImageFile,
        AvifImagePlugin.AvifImageFile,
        BmpImagePlugin.BmpImageFile,
        TiffImagePlugin.TiffImageFile,
    )
)
_MAX_SCANNED_PIXELS = 500 * 64 * 1024 * 1024
"""500 scans (the bound that libjpeg-turbo's own tools suggest) of 64 megapixels: about 15 s."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """One way in which viewers show a file. `pixels`: C-contiguous uint8 of IMAGE_SHAPE, RGB; no name: the only one."""

    name: str | None
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Picture:
    """What a person sees of one file: at least one rendering. `partial`: it is damaged, and viewers show a part."""

    renderings: tuple[Rendering, ...]
    partial: bool


def render(data: bytes, *, max_pixels: int = 64 * 1024 * 1024, max_bytes: int = 64 * 1024 * 1024) -> Picture:
    """All renderings of the whole picture, the ordinary one first.

    Turned upright by its EXIF orientation, transparency laid onto white. The limits are checked before any pixel is
    decoded. Whatever the bytes are, raises UnreadableImage and nothing else but MemoryError; its codes: empty,
    over_byte_limit, over_pixel_limit, over_scan_limit, not_an_image, unsupported, truncated, corrupt. Above 178 million
    pixels Pillow has a limit of its own. May be called from many threads.
    """
    if not data:
        raise UnreadableImage("empty", "the object has no bytes")
    if len(data) > max_bytes:
        raise UnreadableImage("over_byte_limit", f"{len(data):,} bytes; the limit is {max_bytes:,}")
    try:
        with closing(Image.open(io.BytesIO(data), formats=_FORMATS)) as image:
            _check_cost(image, data, max_pixels)
            return Picture((Rendering(None, np.asarray(square_rgb(image))),), partial=False)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImage("over_pixel_limit", str(error)) from error
    except DECODE_ERRORS as error:
        raise refusal(data, error) from error


def decode(data: bytes, *, max_pixels: int = 64 * 1024 * 1024, max_bytes: int = 64 * 1024 * 1024) -> NDArray[np.uint8]:
    """The pixels of the first rendering, for those who need one picture of a file; limits and errors as of `render`."""
    return render(data, max_pixels=max_pixels, max_bytes=max_bytes).renderings[0].pixels


def _check_cost(image: ImageFile.ImageFile, data: bytes, max_pixels: int) -> None:
    width, height = image.size
    pixels = width * height
    if pixels > max_pixels:
        raise UnreadableImage(
            "over_pixel_limit", f"{width} x {height} = {pixels:,} pixels; the limit is {max_pixels:,}"
        )
    if image.format not in ("JPEG", "MPO"):
        return
    # Each scan of a progressive JPEG goes over all of its pixels, and may take but 100 bytes of the file. Markers in
    # data behind the image (a phone's motion photo holds a video there) are counted too, so the limit is generous.
    scans = data.count(b"\xff\xda")
    if scans * pixels > _MAX_SCANNED_PIXELS:
        raise UnreadableImage("over_scan_limit", f"{scans:,} scans of {pixels:,} pixels each")
