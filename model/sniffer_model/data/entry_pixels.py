"""The pixels of a manifest's images, as long as they are what the snapshot saw."""

from __future__ import annotations

import hashlib
import logging

import numpy as np
from numpy.typing import NDArray

from sniffer.adapters.images.render import decode
from sniffer.core.errors import UnreadableImage
from sniffer.core.settings import ImageSettings
from sniffer_model.data.manifest import ManifestEntry
from sniffer_model.data.source import ImageSource

log = logging.getLogger(__name__)


def entry_pixels(entry: ManifestEntry, source: ImageSource, limits: ImageSettings) -> NDArray[np.uint8] | None:
    """The image as uint8 of IMAGE_SHAPE; None, with a warning, when it is gone, has changed or cannot be decoded."""
    try:
        data = source.read(entry.key)
        if hashlib.sha256(data).hexdigest() == entry.content_sha256:
            return decode(data, max_pixels=limits.max_pixels, max_bytes=limits.max_bytes)
        log.warning("left out %s: it has changed since the snapshot", entry.key)
    except (OSError, UnreadableImage) as error:
        log.warning("left out %s: %s", entry.key, error)
    return None
