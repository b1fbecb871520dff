"""From a surveyed file to its decoder: an image whose pixels are not read yet, or, where Pillow is not asked, are."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import pillow_heif

# Each plugin registers its format on import. Left to itself, Pillow would import all of its forty or so.
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    IcoImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from sniffer.adapters.images.formats.jpeg2000 import reductions_of
from sniffer.adapters.images.formats.jxl import is_animated
from sniffer.adapters.images.jxl_frames import JxlImage
from sniffer.adapters.images.survey import Survey
from sniffer.core.model_records import IMAGE_SIDE


def opened(survey: Survey, data: bytes) -> Image.Image:
    """The image in `data`, which is the survey's data or stands in for it. Raises what its decoder raises."""
    # Past `Image.open`, whose limit of pixels knows nothing of scaling; ours were checked.
    if survey.kind == "JPEG 2000":
        return _open_jpeg2000(io.BytesIO(data), reductions_of(data, *survey.size))
    return _OPENERS[survey.kind](io.BytesIO(data))


def _open_jpeg(file: io.BytesIO) -> Image.Image:
    """libjpeg scales by 1/2, 1/4 or 1/8 while it decodes, for less than it costs to decode in full."""
    image = JpegImagePlugin.JpegImageFile(file)
    image.draft(None, (IMAGE_SIDE, IMAGE_SIDE))
    return image


def _open_jpeg2000(file: io.BytesIO, reductions: int) -> Image.Image:
    image = Jpeg2KImagePlugin.Jpeg2KImageFile(file)
    image.reduce = reductions
    # In this plugin, `reduce` is no method any more.
    return image.copy()


def _open_icon(file: io.BytesIO) -> Image.Image:
    if file.getvalue().startswith(b"\x89PNG"):
        return PngImagePlugin.PngImageFile(file)
    return IcoImagePlugin.IcoImageFile(file)


def _open_heic(file: io.BytesIO) -> Image.Image:
    """The primary picture, turned as its properties say."""
    images = pillow_heif.open_heif(file, convert_hdr_to_8bit=True)
    return images[images.primary_index].to_pillow()


def _open_jxl(file: io.BytesIO) -> Image.Image:
    """Turned upright by its decoder, in 8 bits."""
    return JxlImage(file.getvalue(), is_animated=is_animated(file.getvalue()))


_OPENERS: Mapping[str, Callable[[io.BytesIO], Image.Image]] = {
    "JPEG": _open_jpeg,
    "PNG": PngImagePlugin.PngImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "icon": _open_icon,
    "HEIC": _open_heic,
    "JPEG XL": _open_jxl,
}

# A scan has a consumer per core, and memory is counted per thread.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
pillow_heif.options.DECODE_THREADS = 1
pillow_heif.options.THUMBNAILS = False
pillow_heif.options.DEPTH_IMAGES = False
pillow_heif.options.AUX_IMAGES = False
