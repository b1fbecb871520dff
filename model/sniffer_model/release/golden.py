"""Golden examples: a few inputs with the scores that the trained model gave them, kept beside the exported model.

Whoever serves the model can prove with them that it still computes the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sniffer.core.files import read_json
from sniffer.core.inside import path_inside
from sniffer.core.model_records import IMAGE_SHAPE

GOLDEN_FOLDER = "golden"
EXAMPLES_FILE = "examples.json"


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


@dataclass(frozen=True, slots=True)
class GoldenFiles:
    """One example as EXAMPLES_FILE lists it: names of files beside it, and scores."""

    label: str
    pixels: str
    score: float
    encoded: str
    encoded_score: float


@dataclass(frozen=True, slots=True)
class GoldenList:
    """The content of EXAMPLES_FILE."""

    examples: tuple[GoldenFiles, ...]


def read_golden(directory: Path) -> tuple[GoldenExample, ...]:
    """The golden examples of a published version."""
    folder = directory / GOLDEN_FOLDER
    listed = read_json(folder / EXAMPLES_FILE, GoldenList, made_by="sniffer model export")
    return tuple(_read_example(folder, files) for files in listed.examples)


def _read_example(folder: Path, files: GoldenFiles) -> GoldenExample:
    encoded = path_inside(folder, files.encoded)
    pixels = np.frombuffer(path_inside(folder, files.pixels).read_bytes(), np.uint8).reshape(IMAGE_SHAPE)
    image = GoldenImage(files.label, encoded.read_bytes(), encoded.suffix, pixels)
    return GoldenExample(image, files.score, files.encoded_score)
