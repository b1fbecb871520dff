"""A model version: what goes in and out, and its row of `models`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

IMAGE_SIDE = 224
IMAGE_SHAPE = (IMAGE_SIDE, IMAGE_SIDE, 3)
PIXEL_BYTES = IMAGE_SIDE * IMAGE_SIDE * 3
PIXELS_SIGNATURE = "pixels"
"""The fleet's signature: a string tensor [batch] of raw 224×224×3 uint8 RGB bytes in, `score` [batch] float32 out."""

MODEL_NAME = "drug_detector"
LABELS = ("other", "drugs")
"""The classifier's classes in the order of its softmax; `score` is the probability of the last."""


class ModelStatus(StrEnum):
    """Life of a model version, as the `models` table holds it. At most one is stable, at most one previous."""

    CANDIDATE = "candidate"
    BLESSED = "blessed"
    REJECTED = "rejected"
    STABLE = "stable"
    PREVIOUS = "previous"


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A row of `models`. Digests are hex SHA-256; `threshold` is a score in [0, 1].

    `digest` is '' while the version is reserved for a candidate and not yet exported. `candidate_digest` names a
    trained model at its operating point, `digest` the files that were made of it.
    """

    version: int
    digest: str
    backbone_digest: str
    preprocessing_version: str
    threshold: float
    metrics: Mapping[str, Any]
    status: ModelStatus
    candidate_digest: str | None = None
    verdict: Mapping[str, Any] | None = None
