"""The types that cross the seams between stages, and the errors, named by how a caller must react.

SnifferError
├── SettingsError      the user must change a flag, a variable or a right; exit status 2
├── ContractError      a model version, signature, schema or protocol is not what it must be; stop now; exit status 2
├── TransientError     a foreign system did not answer, and retrying was given up; exit status 1
├── IncompleteScan     the scan ended without an outcome for every image; exit status 1
└── UnreadableImage    this one image cannot be decoded; record the reason and go on
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

IMAGE_SIDE = 224
IMAGE_SHAPE = (IMAGE_SIDE, IMAGE_SIDE, 3)
PIXEL_BYTES = IMAGE_SIDE * IMAGE_SIDE * 3
PIXELS_SIGNATURE = "pixels"
"""The fleet's signature: a string tensor [batch] of raw 224×224×3 uint8 RGB bytes in, `score` [batch] float32 out."""

MODEL_NAME = "drug_detector"
LABELS = ("other", "drugs")
"""The classifier's classes in the order of its softmax; `score` is the probability of the last."""


class SnifferError(Exception):
    """Base of every error that sniffer-bot raises on purpose; its text is one line that says what to do."""

    exit_status = 1


class SettingsError(SnifferError):
    """Wrong usage, settings or rights; nothing was done."""

    exit_status = 2


class ContractError(SnifferError):
    """A peer is not what this scan needs (model version, signature, schema); going on would give wrong results."""

    exit_status = 2


class TransientError(SnifferError):
    """A foreign system stayed away longer than our patience; a rerun continues where this run stopped."""


class IncompleteScan(SnifferError):
    """The scan ended before every listed image had an outcome; a rerun does only what is left."""


class UnreadableImage(SnifferError):
    """These bytes are not an image we can decode; `code` is stable and short, the text is for a person."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Outcome(StrEnum):
    """How a listed object ended; each has exactly one. Meanings: README, "Every image is accounted for"."""

    UNCHANGED = "unchanged"
    PREDICTED = "predicted"
    REUSED = "reused"
    UNREADABLE = "unreadable"
    GONE = "gone"
    FAILED = "failed"


SETTLED = frozenset({Outcome.PREDICTED, Outcome.REUSED, Outcome.UNREADABLE})
"""Outcomes that a later scan by the same model version has no reason to try again."""


class ModelStatus(StrEnum):
    """Life of a model version, as the `models` table holds it. At most one is stable, at most one previous."""

    CANDIDATE = "candidate"
    BLESSED = "blessed"
    REJECTED = "rejected"
    STABLE = "stable"
    PREVIOUS = "previous"


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One object as the bucket's listing showed it. `etag` is bare (no quotes); `last_modified` is aware UTC."""

    bucket: str
    key: str
    etag: str
    size_bytes: int
    last_modified: datetime

    @property
    def identity(self) -> bytes:
        """SHA-256 of (bucket, ETag, key), 32 bytes: what makes an image one row. Only the key may contain NUL."""
        return hashlib.sha256(f"{self.bucket}\0{self.etag}\0{self.key}".encode()).digest()


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one image, ready to be stored. A score comes with predicted and reused, a code with the others."""

    image: ListedObject
    outcome: Outcome
    score: float | None = None
    content_hash: bytes | None = None
    error_code: str | None = None
    error_message: str | None = None

    def __post_init__(self) -> None:
        scored = self.outcome in (Outcome.PREDICTED, Outcome.REUSED)
        if scored != (self.score is not None):
            raise ValueError(f"{self.outcome} with score {self.score}")
        if scored == (self.error_code is not None):
            raise ValueError(f"{self.outcome} with error code {self.error_code}")


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome that needs no model: why an image is not scored. `code` is stable, `message` for a person."""

    outcome: Outcome
    code: str
    message: str

    def of(self, image: ListedObject, content_hash: bytes | None = None) -> Result:
        """The verdict as the result of that image."""
        return Result(image, self.outcome, None, content_hash, self.code, self.message)


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


SCAN_ID_PATTERN = re.compile(r"[A-Za-z0-9._:+-]{1,120}")


@dataclass(frozen=True, slots=True)
class ScanRequest:
    """What one scan was asked to do, after every default has been filled in.

    The window is half-open on LastModified: since <= t < until. `limit` bounds the images handed to the fleet,
    not those found unchanged, so that repeated limited scans make progress.
    """

    scan_id: str
    bucket: str
    prefix: str = ""
    since: datetime | None = None
    until: datetime | None = None
    limit: int | None = None
    rescan: bool = False
    retry_failed: bool = False
    dag_run: str | None = None

    def in_window(self, last_modified: datetime) -> bool:
        """Whether an object of that time belongs to this scan."""
        return (self.since is None or last_modified >= self.since) and (
            self.until is None or last_modified < self.until
        )


class ListingDigest:
    """Order-independent digest of a listing: the sum of the images' identities modulo 2**256 (AdHash).

    Unlike XOR, a sum does not lose an object that is listed twice. Bellare & Micciancio, "A New Paradigm for
    Collision-Free Hashing", 1997; against accidents, not against an adversary who chooses keys.
    """

    def __init__(self) -> None:
        self._sum = 0

    def add(self, identities: Iterable[bytes]) -> None:
        """Take in 32-byte identities."""
        self._sum = (self._sum + sum(int.from_bytes(i, "big") for i in identities)) % (1 << 256)

    def hex(self) -> str:
        """64 hexadecimal digits."""
        return f"{self._sum:064x}"


@dataclass(frozen=True, slots=True)
class FailureSample:
    """One of the certificate's examples of an image that was not scored."""

    key: str
    outcome: Outcome
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """The proof of a scan: what was listed, how each object ended, by which model. Kept in MySQL and as JSON."""

    scan_id: str
    bucket: str
    prefix: str
    since: datetime | None
    until: datetime | None
    limited: bool
    listing_digest: str
    listed: int
    outcomes: Mapping[Outcome, int]
    flagged: int
    model_version: int
    model_digest: str
    preprocessing_version: str
    threshold: float
    duration_s: float
    images_per_s: float
    failure_samples: tuple[FailureSample, ...] = ()
    problems: tuple[str, ...] = field(default=())
    """Why the certificate does not hold; empty when it does."""

    @property
    def holds(self) -> bool:
        """Whether every listed object is accounted for within the error budget."""
        return not self.problems

    def document(self) -> dict[str, Any]:
        """As JSON-ready values; times as ISO 8601, plus `holds`."""
        document = dataclasses.asdict(self) | {"holds": self.holds}
        for name in ("since", "until"):
            document[name] = document[name] and document[name].isoformat()
        return document

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Self:
        """The inverse of document()."""
        fields = {field.name: document[field.name] for field in dataclasses.fields(cls)}
        for name in ("since", "until"):
            fields[name] = fields[name] and datetime.fromisoformat(fields[name])
        fields["outcomes"] = {Outcome(name): count for name, count in fields["outcomes"].items()}
        fields["failure_samples"] = tuple(
            FailureSample(**(sample | {"outcome": Outcome(sample["outcome"])})) for sample in fields["failure_samples"]
        )
        fields["problems"] = tuple(fields["problems"])
        return cls(**fields)
