"""Golden examples: a few inputs with the scores that the trained model gave them, kept beside the exported model.

Whoever serves the model can prove with them that it still computes the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sniffer.contracts import IMAGE_SHAPE, LABELS, UnreadableImage
from sniffer.images import decode
from sniffer.settings import ImageSettings
from sniffer_model.manifest import ManifestEntry
from sniffer_model.workdir import read_json, write_json

if TYPE_CHECKING:  # it needs pyarrow, which a rollout, that reads golden examples only, does without
    from sniffer_model.source import ImageSource

GOLDEN_FOLDER = "golden"
_EXAMPLES_FILE = "examples.json"
_EACH_CLASS = 4
# What every version of TensorFlow Serving decodes.
_PORTABLE = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png"}


@dataclass(frozen=True, slots=True)
class GoldenImage:
    """One input, in both forms. `encoded` is JPEG or PNG, as `suffix` says; `pixels` is uint8 of IMAGE_SHAPE."""

    label: str
    encoded: bytes
    suffix: str
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class GoldenExample:
    """An input and its expected scores: by `pixels` to 1e-5, by `serving_default` as that decoder sees it."""

    image: GoldenImage
    score: float
    encoded_score: float


def choose_golden(
    entries: Sequence[ManifestEntry], source: ImageSource, limits: ImageSettings
) -> tuple[GoldenImage, ...]:
    """Up to four images of each class, always the same of the same entries; those not to be had are passed over."""
    chosen: list[GoldenImage] = []
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
    rows = []
    for number, example in enumerate(examples):
        raw, encoded = f"{number}.rgb", f"{number}{example.image.suffix}"
        (folder / raw).write_bytes(example.image.pixels.tobytes())
        (folder / encoded).write_bytes(example.image.encoded)
        rows.append(
            {
                "label": example.image.label,
                "pixels": raw,
                "score": example.score,
                "encoded": encoded,
                "encoded_score": example.encoded_score,
            }
        )
    write_json(folder / _EXAMPLES_FILE, {"examples": rows})


def read_golden(directory: Path) -> tuple[GoldenExample, ...]:
    """The golden examples of a published version."""
    folder = directory / GOLDEN_FOLDER
    rows = read_json(folder / _EXAMPLES_FILE, made_by="sniffer_model.export")["examples"]
    return tuple(_read_example(folder, row) for row in rows)


def _read_example(folder: Path, row: dict[str, object]) -> GoldenExample:
    encoded = folder / str(row["encoded"])
    pixels = np.frombuffer((folder / str(row["pixels"])).read_bytes(), np.uint8).reshape(IMAGE_SHAPE)
    image = GoldenImage(str(row["label"]), encoded.read_bytes(), encoded.suffix, pixels)
    return GoldenExample(image, float(str(row["score"])), float(str(row["encoded_score"])))


def _golden_image(entry: ManifestEntry, source: ImageSource, limits: ImageSettings) -> GoldenImage | None:
    try:
        data = source.read(entry.key)
        pixels = decode(data, max_pixels=limits.max_pixels, max_bytes=limits.max_bytes)
    except (OSError, UnreadableImage):
        return None
    suffixes = [suffix for magic, suffix in _PORTABLE.items() if data.startswith(magic)]
    return GoldenImage(entry.label, data, suffixes[0], pixels) if suffixes else None
