"""Choosing and writing the golden examples of a version: a few images, reduced to the pixels that a model sees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sniffer.adapters.images.render import decode
from sniffer.core.errors import UnreadableImage
from sniffer.core.files import write_json
from sniffer.core.model_records import LABELS
from sniffer.core.settings import ImageSettings
from sniffer_model.data.manifest import ManifestEntry
from sniffer_model.data.source import ImageSource
from sniffer_model.release.golden import (
    EXAMPLES_FILE,
    GOLDEN_FOLDER,
    GoldenExample,
    GoldenFiles,
    GoldenImage,
    GoldenList,
)

_EACH_CLASS = 4
_JPEG_QUALITY = 95

# What every version of TensorFlow Serving decodes.
_PORTABLE = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png"}


@dataclass(frozen=True, slots=True)
class ChosenImage:
    """An image for a golden example: what is published of it, and its user's own bytes, which are not."""

    golden: GoldenImage
    original: bytes


def choose_golden(
    entries: Sequence[ManifestEntry], source: ImageSource, limits: ImageSettings
) -> tuple[ChosenImage, ...]:
    """Up to four images of each class, always the same of the same entries; those not to be had are passed over."""
    chosen: list[ChosenImage] = []
    for label in LABELS:
        of_label = sorted((e for e in entries if e.label == label), key=lambda entry: entry.content_sha256)
        found = 0
        for entry in of_label:
            if found < _EACH_CLASS and (image := _golden_image(entry, source, limits)) is not None:
                chosen.append(image)
                found += 1
    return tuple(chosen)


def write_golden(examples: Iterable[GoldenExample], directory: Path) -> None:
    """Write the examples under `golden/`: raw pixels, encoded images, and examples.json with the scores."""
    folder = directory / GOLDEN_FOLDER
    folder.mkdir()
    listed = []
    for number, example in enumerate(examples):
        raw, encoded = f"{number}.rgb", f"{number}{example.image.suffix}"
        (folder / raw).write_bytes(example.image.pixels.tobytes())
        (folder / encoded).write_bytes(example.image.encoded)
        listed.append(GoldenFiles(example.image.label, raw, example.score, encoded, example.encoded_score))
    write_json(folder / EXAMPLES_FILE, GoldenList(tuple(listed)))


def _golden_image(entry: ManifestEntry, source: ImageSource, limits: ImageSettings) -> ChosenImage | None:
    try:
        data = source.read(entry.key)
        pixels = decode(data, max_pixels=limits.max_pixels, max_bytes=limits.max_bytes)
    except (OSError, UnreadableImage):
        return None
    suffixes = [suffix for magic, suffix in _PORTABLE.items() if data.startswith(magic)]
    if not suffixes:
        return None
    return ChosenImage(GoldenImage(entry.label, _encoded(pixels, suffixes[0]), suffixes[0], pixels), data)


def _encoded(pixels: NDArray[np.uint8], suffix: str) -> bytes:
    """The reduced pixels as a file of the original's kind, without its size or metadata."""
    encoded = tf.io.encode_png(pixels) if suffix == ".png" else tf.io.encode_jpeg(pixels, quality=_JPEG_QUALITY)
    data: bytes = encoded.numpy()
    return data
