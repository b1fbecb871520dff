"""The stable model's scores of held-out images: by its exported graph, on the same pixels as the fleet would send."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sniffer.core.count_progress import StageProgress
from sniffer.core.errors import SettingsError
from sniffer.core.model_records import PIXELS_SIGNATURE
from sniffer.core.settings import ImageSettings
from sniffer_model.data.entry_pixels import entry_pixels
from sniffer_model.data.manifest import ManifestEntry
from sniffer_model.data.source import ImageSource
from sniffer_model.evaluation.evaluated_run import check_scores
from sniffer_model.training.network import PIXELS_INPUT, SCORE_OUTPUT, load_signatures

_BATCH_SIZE = 32
MAX_LOST_SHARE = 0.05
"""Test images that may be gone since their features were computed; the models are compared on the others."""


def stable_scores(
    directory: Path, entries: Sequence[ManifestEntry], source: ImageSource, limits: ImageSettings
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The model's score of each image, and whether it could be read; [n] both, NaN where it could not.

    Raises ContractError when the model lacks a signature or gives what is no score, SettingsError when more than
    MAX_LOST_SHARE is lost.
    """
    score = load_signatures(directory)[PIXELS_SIGNATURE]
    scores, readable = np.full(len(entries), np.nan), np.zeros(len(entries), np.bool_)
    with StageProgress("stable model", len(entries)) as progress:
        for rows, pixels in _batches(entries, source, limits):
            scores[rows] = score(**{PIXELS_INPUT: tf.constant(pixels)})[SCORE_OUTPUT].numpy()
            readable[rows] = True
            progress.advance(len(rows))
    check_scores(scores[readable], f"the stable model in {directory}")
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
            decoded = pool.map(lambda entry: entry_pixels(entry, source, limits), batch)
            found = [(start + row, pixels.tobytes()) for row, pixels in enumerate(decoded) if pixels is not None]
            if found:
                yield [row for row, _ in found], [pixels for _, pixels in found]
