"""The decoding stage: encoded bytes of one image in, 224×224×3 uint8 RGB out, or UnreadableImage with a precise reason.

The only module that touches Pillow. The trainer and the fleet both call `decode`, so both see the same pixels.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Sequence
from contextlib import closing

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
    UnidentifiedImageError,
    WebPImagePlugin,
)
from PIL import __version__ as pillow_version

from sniffer.core.errors import UnreadableImage
from sniffer.core.model_records import IMAGE_SIDE
from sniffer.core.text import one_line

PREPROCESSING_VERSION = f"1-draft-bilinear-pillow{pillow_version.split('.')[0]}"
"""Names all that defines the pixels: our steps (the leading number; raise it with any change), the resampling, and
Pillow's major version, which may change its decoders."""

_SIZE = (IMAGE_SIDE, IMAGE_SIDE)
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
_INTERPOLABLE = ("RGB", "L", "CMYK", "YCbCr", "I", "F")
_ENOUGH = 2 * IMAGE_SIDE
"""Blocks are averaged down to no less than this side; with a factor of two left to the bilinear filter, the result
differs from filtering everything by a third of a grey level on average, at half the cost."""
_BAND_PIXELS = 1 << 20
_MAX_SCANNED_PIXELS = 500 * 64 * 1024 * 1024
"""500 scans (the bound that libjpeg-turbo's own tools suggest) of 64 megapixels: about 15 s."""

_ORIENTATION_TAG = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What Pillow raises on bytes that lie, found by fuzzing and in its source: its plugins let most of Python's own errors
# through, assert, and warn (a warning may have been made an error). MemoryError is no fault of the image: not here.
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    EOFError,
    RuntimeError,
    Warning,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

_DECODABLE = ("JPEG", "PNG", "GIF", "WebP", "AVIF", "BMP", "TIFF")
_OTHER_IMAGES = ("HEIC", "JPEG 2000", "JPEG XL", "Photoshop", "icon", "SVG")
_MAGIC = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WebP"),
    (4, b"ftypavi", "AVIF"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftyphev", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftypmsf1", "HEIC"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\0\0\1\0", "icon"),
    (4, b"ftyp", "video"),
    (8, b"AVI ", "video"),
    (0, b"\x1aE\xdf\xa3", "video"),
    (0, b"\0\0\1\xba", "video"),
    (0, b"%PDF", "PDF"),
    (0, b"PK\3\4", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
)


def decode(data: bytes, *, max_pixels: int = 64 * 1024 * 1024, max_bytes: int = 64 * 1024 * 1024) -> NDArray[np.uint8]:
    """The whole picture as a C-contiguous uint8 array of IMAGE_SHAPE, RGB; the first frame of an animated one.

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
            return np.asarray(_square_rgb(image))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImage("over_pixel_limit", str(error)) from error
    except _DECODE_ERRORS as error:
        raise _refusal(data, error) from error


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


def _square_rgb(image: ImageFile.ImageFile) -> Image.Image:
    # libjpeg scales by 1/2, 1/4 or 1/8 while it decodes, for less than it costs to decode in full. A scaled side is
    # rounded up; the box says where the picture really ends.
    draft = image.draft(None, _SIZE)
    image.load()
    width, height = draft[1][2:] if draft else image.size
    block = max(1, int(width) // _ENOUGH), max(1, int(height) // _ENOUGH)
    box = (0, 0, width / block[0], height / block[1])
    small = _reduced(image, block).resize(_SIZE, Image.Resampling.BILINEAR, box)
    # Resizing treats each axis alone, and all of both goes onto a square: turning the result is turning the source.
    turn = _TRANSPOSE.get(_orientation(image))
    return _rgb_on_white(small if turn is None else small.transpose(turn))


def _reduced(image: Image.Image, block: tuple[int, int]) -> Image.Image:
    """Each block of pixels averaged to one, in a mode that can be interpolated.

    Where the mode must change, it does so band by band: a large image is never held a second time in full.
    """
    if image.mode in _INTERPOLABLE and not image.has_transparency_data:
        return image if block == (1, 1) else image.reduce(block)
    width, height = image.size
    rows = block[1] * max(1, _BAND_PIXELS // (width * block[1]))
    if rows >= height:
        return _interpolable(image).reduce(block)
    bands = [
        _interpolable(image.crop((0, top, width, min(top + rows, height)))).reduce(block)
        for top in range(0, height, rows)
    ]
    return _stacked(bands)


def _stacked(bands: Sequence[Image.Image]) -> Image.Image:
    whole = Image.new(bands[0].mode, (bands[0].width, sum(band.height for band in bands)))
    top = 0
    for band in bands:
        whole.paste(band, (0, top))
        top += band.height
    return whole


def _interpolable(image: Image.Image) -> Image.Image:
    """The image with colours, not palette entries, and with transparency as alpha, its colours multiplied by it."""
    if image.mode.startswith("I;16"):
        image = _high_bytes(image)
    if image.mode in ("RGBa", "La"):
        return image
    if image.has_transparency_data:
        return image.convert("RGBA").convert("RGBa")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _high_bytes(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    grey = Image.fromarray((values >> 8).astype(np.uint8))
    if "transparency" not in image.info:
        return grey
    alpha = Image.fromarray(np.where(values == image.info["transparency"], 0, 255).astype(np.uint8))
    return Image.merge("LA", (grey, alpha))


def _rgb_on_white(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F"):
        image = _stretched(image)
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode not in ("LA", "RGBa"):
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _stretched(image: Image.Image) -> Image.Image:
    """Grey from values whose format names no black and white: the lowest becomes black, the highest white.

    Floats within [0, 1] are taken at their word, as is the custom; what is no number becomes black.
    """
    values = np.asarray(image).astype(np.float64)
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    if image.mode == "F" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    return Image.fromarray(np.rint((values - low) * (255 / ((high - low) or 1))).astype(np.uint8))


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; broken EXIF does not make a picture unreadable, browsers show it as it is."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except _DECODE_ERRORS:
        return 1
    return orientation if isinstance(orientation, int) else 1


def _refusal(data: bytes, error: BaseException) -> UnreadableImage:
    """Say in one code and one line why Pillow gave up on these bytes."""
    kind = _kind(data)
    if kind in _OTHER_IMAGES:
        return UnreadableImage("unsupported", f"{kind} images are not supported")
    if kind not in _DECODABLE:
        return UnreadableImage("not_an_image", f"not an image: it looks like {kind}")
    if _ends_early(kind, data) or "truncated" in str(error).lower():
        return UnreadableImage("truncated", f"{kind} image ends early, after {len(data):,} bytes")
    if isinstance(error, UnidentifiedImageError):
        return UnreadableImage("corrupt", f"{kind} image is damaged: its header cannot be read")
    what = one_line(error, 200) or type(error).__name__
    return UnreadableImage("corrupt", f"{kind} image is damaged: {what}")


def _kind(data: bytes) -> str:
    for offset, magic, kind in _MAGIC:
        if data.startswith(magic, offset):
            return kind
    start = data[:1024]
    if _is_text(start):
        return _kind_of_text(start.lstrip(b"\xef\xbb\xbf \t\r\n").lower())
    return "BMP" if start.startswith(b"BM") else "unknown data"


def _kind_of_text(start: bytes) -> str:
    if not start.startswith(b"<"):
        return "JSON" if start.startswith((b"{", b"[")) else "text"
    if b"<html" in start or start.startswith((b"<!doctype html", b"<head", b"<body")):
        return "HTML"
    return "SVG" if b"<svg" in start else "XML"


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:
            return False
        # The sample may end within a character.
        text = start[: error.start].decode("utf-8")
    return all(character.isprintable() or character in "\t\r\n\f\ufeff" for character in text)


def _ends_early(kind: str, data: bytes) -> bool:
    if kind == "JPEG":
        return b"\xff\xd9" not in data
    if kind == "PNG":
        return b"IEND" not in data
    if kind == "GIF":
        return not data.rstrip(b"\0").endswith(b";")
    if kind == "WebP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if kind == "BMP":
        return int.from_bytes(data[2:6], "little") > len(data)
    return False


# Pillow warns of broken metadata once per place: noise to a scan that records why an image cannot be read.
warnings.filterwarnings("ignore", module=r"PIL\.")
