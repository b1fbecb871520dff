"""What Pillow imports with the first image that needs it, for a process that will not be able to import anything."""

from __future__ import annotations

import codecs

import imagecodecs
from PIL import Image, ImageCms, ImageColor, ImageFilter, ImagePalette, MpoImagePlugin, PpmImagePlugin

LAZY_MODULES = (ImageCms, ImageColor, ImageFilter, ImagePalette, MpoImagePlugin, PpmImagePlugin)
"""Imported with this module."""


_ENCODINGS = ("ascii", "latin-1", "utf-8", "utf-16", "utf-16-le", "utf-16-be", "cp1252")
"""Of the texts in files."""


def preload() -> None:
    """Register all formats and encodings, and load the codecs that are loaded when they are first named."""
    _ = imagecodecs.jpegxl_decode
    Image.preinit()
    for name in _ENCODINGS:
        codecs.lookup(name)
