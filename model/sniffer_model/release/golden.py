"""Golden examples: a few inputs with the scores that the trained model gave them, kept beside the exported model.

Whoever serves the model can prove with them that it still computes the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sniffer.core.files import read_json
from sniffer.core.model_records import IMAGE_SHAPE

if TYPE_CHECKING:  # it needs pyarrow, which a rollout, that reads golden examples only, does without
    pass

GOLDEN_FOLDER = "golden"
_EXAMPLES_FILE = "examples.json"


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


def read_golden(directory: Path) -> tuple[GoldenExample, ...]:
    """The golden examples of a published version."""
    folder = directory / GOLDEN_FOLDER
    rows = read_json(folder / _EXAMPLES_FILE, made_by="sniffer model export")["examples"]
    return tuple(_read_example(folder, row) for row in rows)


def _read_example(folder: Path, row: dict[str, object]) -> GoldenExample:
    encoded = folder / str(row["encoded"])
    pixels = np.frombuffer((folder / str(row["pixels"])).read_bytes(), np.uint8).reshape(IMAGE_SHAPE)
    image = GoldenImage(str(row["label"]), encoded.read_bytes(), encoded.suffix, pixels)
    return GoldenExample(image, float(str(row["score"])), float(str(row["encoded_score"])))
