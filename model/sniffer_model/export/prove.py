"""Proves a SavedModel: it scores as the trained network does, its warm-up records run, and golden examples are added.

In: the trained network's scores. One signature at a time, each of a model loaded for it: while TensorFlow prepares a
signature's first run, it holds the weights ten times over.
"""

from __future__ import annotations

import ctypes
import gc
import logging
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sniffer.core.errors import ContractError
from sniffer.core.model_records import PIXELS_SIGNATURE
from sniffer_model.export.choose_golden import ChosenImage, write_golden
from sniffer_model.export.warmup import replay_warmup, write_warmup
from sniffer_model.release.golden import GoldenExample, GoldenImage
from sniffer_model.release.publish import ENCODED_SIGNATURE
from sniffer_model.training.network import (
    ENCODED_INPUT,
    PIXELS_INPUT,
    SCORE_OUTPUT,
    LoadedSignature,
    load_signatures,
)

log = logging.getLogger(__name__)

PARITY_TOLERANCE = 1e-5

Scores = NDArray[np.float32]


def prove(trained: Scores, chosen: Sequence[ChosenImage], staged: Path) -> float:
    """Add golden examples and warm-up records, and check both on the SavedModel as a server would load it.

    `trained` are the trained network's scores of the chosen images. Returns the largest difference that TensorFlow's
    decoder makes to the score of an original image. Raises ContractError when a score differs or a record fails.
    """
    images = [one.golden for one in chosen]
    write_warmup(staged)
    records = _prove_pixels(trained, images, staged)
    release_memory()
    encoded, originals, more_records = _prove_encoded(chosen, staged)
    release_memory()
    log.info("%d warm-up records run", records + more_records)
    rows = zip(images, trained, encoded, strict=True)
    write_golden([GoldenExample(image, float(a), float(b)) for image, a, b in rows], staged)
    difference = float(np.max(np.abs(originals - trained)))
    log.info("TensorFlow's own decoder moves the golden scores by at most %.4f", difference)
    return difference


def _prove_pixels(trained: Scores, images: Sequence[GoldenImage], staged: Path) -> int:
    """Hold the scores of raw pixels against the trained ones; returns how many warm-up records ran."""
    signature = load_signatures(staged)[PIXELS_SIGNATURE]
    check_parity(trained, _scores(signature, PIXELS_INPUT, [image.pixels.tobytes() for image in images]))
    return replay_warmup(staged, {PIXELS_SIGNATURE: signature})


def _prove_encoded(chosen: Sequence[ChosenImage], staged: Path) -> tuple[Scores, Scores, int]:
    """Scores of the images as they are published, and of the originals; and how many warm-up records ran."""
    signature = load_signatures(staged)[ENCODED_SIGNATURE]
    encoded = _scores(signature, ENCODED_INPUT, [one.golden.encoded for one in chosen])
    originals = _scores(signature, ENCODED_INPUT, [one.original for one in chosen])
    return encoded, originals, replay_warmup(staged, {ENCODED_SIGNATURE: signature})


def check_parity(trained: Scores, served: Scores) -> None:
    """Raise ContractError unless the exported model's scores are the trained model's within PARITY_TOLERANCE."""
    difference = float(np.max(np.abs(trained - served)))
    # Written so that NaN fails.
    if not difference <= PARITY_TOLERANCE:
        raise ContractError(
            f"the exported model's scores differ from the trained model's by {difference:.2g} (at most "
            f"{PARITY_TOLERANCE:g} is allowed): not published; this is a defect of the export"
        )
    log.info("exported and trained scores differ by at most %.1e", difference)


def release_memory() -> None:
    """Give the memory of models that nobody holds any more back to the system."""
    keras.backend.clear_session()
    gc.collect()
    # glibc keeps what was freed between two blocks that are in use: of the weights' many small ones, 1 GB.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _scores(signature: LoadedSignature, name: str, values: Sequence[bytes]) -> Scores:
    scores: Scores = signature(**{name: tf.constant(list(values))})[SCORE_OUTPUT].numpy()
    return scores
