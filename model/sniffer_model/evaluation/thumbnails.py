"""Small pictures for pages: JPEG without metadata, as the data URIs that a page can hold."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray

from sniffer.core.changed_images import PICTURE_PREFIX

_JPEG_QUALITY = 80


def jpeg_uri(pixels: NDArray[np.uint8], shrink: int = 1) -> str:
    """The picture of uint8 [height, width, 3], each side divided by `shrink`, which must divide it."""
    # Imported here: it takes seconds, and the gate writes its verdict into the report without a picture.
    import tensorflow as tf

    height, width, channels = pixels.shape
    blocks = pixels.reshape(height // shrink, shrink, width // shrink, shrink, channels)
    small = np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
    encoded: bytes = tf.io.encode_jpeg(small, quality=_JPEG_QUALITY).numpy()
    return PICTURE_PREFIX + base64.b64encode(encoded).decode()
