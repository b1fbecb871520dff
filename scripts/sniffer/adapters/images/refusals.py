"""Why bytes are not decoded, in one code and one line."""

from __future__ import annotations

import struct
import warnings
import zlib

from PIL import Image, UnidentifiedImageError

from sniffer.adapters.images.kinds import DECODABLE, OTHER_IMAGES, kind_of
from sniffer.core.errors import UnreadableImage
from sniffer.core.text import one_line

# What Pillow raises on bytes that lie, found by fuzzing and in its source: its plugins let most of Python's own errors
# through, assert, and warn (a warning may have been made an error). MemoryError is no fault of the image: not here.
DECODE_ERRORS = (
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


def refusal(data: bytes, error: BaseException) -> UnreadableImage:
    """Say in one code and one line why Pillow gave up on these bytes."""
    kind = kind_of(data)
    if kind in OTHER_IMAGES:
        return UnreadableImage("unsupported", f"{kind} images are not supported")
    if kind not in DECODABLE:
        return UnreadableImage("not_an_image", f"not an image: it looks like {kind}")
    if _ends_early(kind, data) or "truncated" in str(error).lower():
        return UnreadableImage(
            "truncated", f"{kind} image ends early, after {len(data):,} bytes; nothing of it can be shown"
        )
    if isinstance(error, UnidentifiedImageError):
        return UnreadableImage("corrupt", f"{kind} image is damaged: its header cannot be read")
    what = one_line(error, 200) or type(error).__name__
    return UnreadableImage("corrupt", f"{kind} image is damaged: {what}")


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
