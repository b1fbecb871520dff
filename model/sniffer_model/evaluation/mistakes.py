"""The worst mistakes on the test split, for people to look at: which images, how far off, and a thumbnail of each."""

from __future__ import annotations

import base64
import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sniffer.adapters.images import decode
from sniffer.core.errors import UnreadableImage
from sniffer.core.settings import ImageSettings
from sniffer_model.data.source import ImageSource
from sniffer_model.evaluation.figures import SplitFigures

log = logging.getLogger(__name__)

_SHRINK = 2
_JPEG_QUALITY = 80


@dataclass(frozen=True, slots=True)
class Mistake:
    """One image on the wrong side of the threshold. `picture` is a data URI, None when it can no longer be read."""

    key: str
    label: str
    slice: str
    score: float
    picture: str | None


def worst_mistakes(
    judgement: SplitFigures, source: ImageSource, limits: ImageSettings, count: int
) -> tuple[list[Mistake], list[Mistake]]:
    """The drugs that were missed with the lowest scores, and the false alarms with the highest; `count` of each."""
    scores, truth = judgement.scores, judgement.images.truth
    flagged = scores >= judgement.operation.threshold
    missed, alarms = np.flatnonzero(truth & ~flagged), np.flatnonzero(~truth & flagged)
    return (
        [_mistake(judgement, row, source, limits) for row in missed[np.argsort(scores[missed])][:count]],
        [_mistake(judgement, row, source, limits) for row in alarms[np.argsort(-scores[alarms])][:count]],
    )


def _mistake(judgement: SplitFigures, row: int, source: ImageSource, limits: ImageSettings) -> Mistake:
    entry = judgement.images.entries[row]
    return Mistake(
        entry.key, entry.label, entry.slice, float(judgement.scores[row]), _picture(entry.key, source, limits)
    )


def _picture(key: str, source: ImageSource, limits: ImageSettings) -> str | None:
    try:
        pixels = decode(source.read(key), max_pixels=limits.max_pixels, max_bytes=limits.max_bytes)
    except (OSError, UnreadableImage) as error:
        log.warning("no thumbnail of %s: %s", key, error)
        return None
    return f"data:image/jpeg;base64,{base64.b64encode(_thumbnail(pixels)).decode()}"


def _thumbnail(pixels: NDArray[np.uint8]) -> bytes:
    # Imported here: it takes seconds, and the gate writes its verdict into the report without a thumbnail.
    import tensorflow as tf

    height, width, channels = pixels.shape
    blocks = pixels.reshape(height // _SHRINK, _SHRINK, width // _SHRINK, _SHRINK, channels)
    small = np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
    encoded: bytes = tf.io.encode_jpeg(small, quality=_JPEG_QUALITY).numpy()
    return encoded
