"""A model version: what goes in and out, its identity in the table `models`, and its published facts."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum

from sniffer.core.errors import SettingsError

IMAGE_SIDE = 224
IMAGE_SHAPE = (IMAGE_SIDE, IMAGE_SIDE, 3)
PIXEL_BYTES = IMAGE_SIDE * IMAGE_SIDE * 3
PIXELS_SIGNATURE = "pixels"
"""The fleet's signature: a string tensor [batch] of raw 224×224×3 uint8 RGB bytes in, `score` [batch] float32 out."""

MODEL_NAME = "drug_detector"
LABELS = ("other", "drugs")
"""The classifier's classes in the order of its softmax; `score` is the probability of the last."""


NAME_CHARS, REASON_CHARS = 200, 2000
"""How long the name of a person, and a reason, may be."""


class ModelStatus(StrEnum):
    """Life of a model version, as the `models` table holds it. At most one is stable, at most one previous."""

    CANDIDATE = "candidate"
    BLESSED = "blessed"
    REJECTED = "rejected"
    STABLE = "stable"
    PREVIOUS = "previous"


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A row of `models`, without its metrics and verdict. Digests are hex SHA-256; `threshold` is a score in [0, 1].

    `digest` is '' while the version is reserved for a candidate and not yet exported. `candidate_digest` names a
    trained model at its operating point, `digest` the files that were made of it.
    """

    version: int
    digest: str
    backbone_digest: str
    preprocessing_version: str
    threshold: float
    status: ModelStatus
    candidate_digest: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Who asked for a change of the stable version, who approved it and why; None where that is nobody, or not known.

    Names are those by which Airflow knows its users; at a terminal they are what the person there says. Raises
    SettingsError for a text that is too long to be kept.
    """

    requested_by: str | None = None
    approved_by: str | None = None
    approval_reason: str | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            most = REASON_CHARS if each.name == "approval_reason" else NAME_CHARS
            if len(getattr(self, each.name) or "") > most:
                raise SettingsError(f"{each.name} may have at most {most} characters")


NOBODY = Decision()
"""Nobody was asked, and nobody is known to have asked."""


@dataclass(frozen=True, slots=True)
class StableChange:
    """A version became stable in the place of `previous_stable`, at a time in UTC, by that decision."""

    version: int
    previous_stable: int | None
    at: datetime
    decision: Decision


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is published beside a model's files. Digests are hex SHA-256."""

    version: int
    digest: str
    backbone_digest: str
    backbone_weights: str
    head_digest: str
    preprocessing_version: str
    threshold: float
    manifest_digest: str
    labels: tuple[str, ...]
    signatures: tuple[str, ...]
    exporter: str
    """The form of the export and the TensorFlow that wrote it."""
    decoder_difference: float | None = None
    """By how much TensorFlow's own decoder, behind `serving_default`, moves the golden scores; measured at export."""

    @property
    def identity(self) -> str:
        """64 hexadecimal digits that name one trained model in one form, whatever its version and metadata."""
        facts = {each.name: getattr(self, each.name) for each in fields(ModelFacts)}
        anonymous = facts | {"version": 0, "digest": "", "decoder_difference": None}
        return hashlib.sha256(json.dumps(anonymous, sort_keys=True).encode()).hexdigest()

    def same_model(self, other: ModelFacts) -> bool:
        """Whether both are one trained model in one form, whatever their versions."""
        return self.identity == other.identity


@dataclass(frozen=True, slots=True)
class PublishedModel(ModelFacts):
    """The facts of a version, and where it is published: a folder or `s3://bucket/prefix/version`."""

    path: str = field(kw_only=True)

    @classmethod
    def at(cls, path: str, facts: ModelFacts) -> PublishedModel:
        """The version of these facts, at that path."""
        return cls(**{each.name: getattr(facts, each.name) for each in fields(ModelFacts)}, path=path)
