"""The stable model's scores of held-out images: by its exported graph, on the same pixels as the fleet would send."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sniffer.contracts import PIXELS_SIGNATURE, SettingsError, UnreadableImage
from sniffer.images import decode
from sniffer.settings import ImageSettings
from sniffer_model.manifest import ManifestEntry
from sniffer_model.network import PIXELS_INPUT, SCORE_OUTPUT, load_signatures
from sniffer_model.source import ImageSource

log = logging.getLogger(__name__)

_BATCH_SIZE = 32
MAX_LOST_SHARE = 0.05
"""Test images that may be gone since their features were computed; the models are compared on the others."""


def stable_scores(
    directory: Path, entries: Sequence[ManifestEntry], source: ImageSource, limits: ImageSettings
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The model's score of each image, and whether it could be read; [n] both, NaN where it could not.

    Raises ContractError when the model lacks a signature, SettingsError when more than MAX_LOST_SHARE is lost.
    """
    score = load_signatures(directory)[PIXELS_SIGNATURE]
    scores = np.full(len(entries), np.nan)
    for rows, pixels in _batches(entries, source, limits):
        scores[rows] = score(**{PIXELS_INPUT: tf.constant(pixels)})[SCORE_OUTPUT].numpy()
        log.info("stable model: %d of %d images seen", rows[-1] + 1, len(entries))
    readable = ~np.isnan(scores)
    lost = int(np.sum(~readable))
    if lost > MAX_LOST_SHARE * len(entries):
        raise SettingsError(
            f"{lost} of {len(entries)} test images cannot be read any more: the stable model cannot be compared on "
            "them; take a new snapshot"
        )
    return scores, readable


def _batches(
    entries: Sequence[ManifestEntry], source: ImageSource, limits: ImageSettings
) -> Iterator[tuple[list[int], list[bytes]]]:
    """Row numbers and raw pixels of the images that can be read, batch by batch, decoded in threads."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(entries), _BATCH_SIZE):
            batch = entries[start : start + _BATCH_SIZE]
            decoded = pool.map(lambda entry: _pixels(entry, source, limits), batch)
            found = [(start + row, pixels) for row, pixels in enumerate(decoded) if pixels is not None]
            if found:
                yield [row for row, _ in found], [pixels for _, pixels in found]


def _pixels(entry: ManifestEntry, source: ImageSource, limits: ImageSettings) -> bytes | None:
    try:
        data = source.read(entry.key)
        if hashlib.sha256(data).hexdigest() == entry.content_sha256:
            return decode(data, max_pixels=limits.max_pixels, max_bytes=limits.max_bytes).tobytes()
        log.warning("left out %s: it has changed since the snapshot", entry.key)
    except (OSError, UnreadableImage) as error:
        log.warning("left out %s: %s", entry.key, error)
    return None
