"""The types that cross the seams between stages of a scan."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from sniffer.core.key_ranges import ALL_KEYS, KeyRange


class Outcome(StrEnum):
    """How a listed object ended; each has exactly one. core.outcomes says what each means."""

    UNCHANGED = "unchanged"
    PREDICTED = "predicted"
    REUSED = "reused"
    UNREADABLE = "unreadable"
    INACCESSIBLE = "inaccessible"
    GONE = "gone"
    SKIPPED = "skipped"
    FAILED = "failed"


SETTLED = frozenset({Outcome.PREDICTED, Outcome.REUSED, Outcome.UNREADABLE})
"""Outcomes that a later scan by the same model version has no reason to try again."""

GIVEN_UP = frozenset({Outcome.FAILED, Outcome.GONE, Outcome.INACCESSIBLE})
"""Outcomes that a settled one replaces, when another consumer had the image as well and read it after all."""

SETTLED_FAILURES = frozenset({"kills_consumers"})
"""Codes of failures that another try would only repeat, until a release decodes otherwise."""

_TIMES = ("since", "until", "late_before")
"""The times of a certificate."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One object as the bucket's listing showed it. `etag` is bare (no quotes); `last_modified` is aware UTC.

    `storage_class` is no part of its identity: moving an object to another class changes no byte.
    """

    bucket: str
    key: str
    etag: str
    size_bytes: int
    last_modified: datetime
    storage_class: str = "STANDARD"

    @property
    def identity(self) -> bytes:
        """SHA-256 of (bucket, ETag, size, last modified, key), 32 bytes: what makes an image one row.

        The ETag alone is no proof of equal bytes: MD5 can be forged, and some stores give the same one to everything.
        Last modified counts in microseconds since 1970. Only the key may contain NUL.
        """
        modified_us = (self.last_modified - _EPOCH) // timedelta(microseconds=1)
        parts = (self.bucket, self.etag, str(self.size_bytes), str(modified_us), self.key)
        return hashlib.sha256("\0".join(parts).encode()).digest()


@dataclass(frozen=True, slots=True)
class Score:
    """What a model said of some bytes. `rendering`: the picture of the file that has this score; None: the only one."""

    value: float
    rendering: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one image, ready to be stored. A score comes with predicted and reused, a code with the others.

    `rendering` names the picture of the file that has the score, such as "frame 12" or "partial"; None: the only one.
    """

    image: ListedObject
    outcome: Outcome
    score: float | None = None
    content_hash: bytes | None = None
    error_code: str | None = None
    error_message: str | None = None
    rendering: str | None = None

    def __post_init__(self) -> None:
        scored = self.outcome in (Outcome.PREDICTED, Outcome.REUSED)
        if scored != (self.score is not None):
            raise ValueError(f"{self.outcome} with score {self.score}")
        if scored == (self.error_code is not None):
            raise ValueError(f"{self.outcome} with error code {self.error_code}")


@dataclass(frozen=True, slots=True)
class Unscored:
    """An outcome that needs no model: why an image is not scored. `code` is stable, `message` for a person."""

    outcome: Outcome
    code: str
    message: str

    def of(self, image: ListedObject, content_hash: bytes | None = None) -> Result:
        """The verdict as the result of that image."""
        return Result(image, self.outcome, None, content_hash, self.code, self.message)


LONGEST_SCAN_ID = 120
SCAN_ID_PATTERN = re.compile(rf"[A-Za-z0-9._:+-]{{1,{LONGEST_SCAN_ID}}}")


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
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    """Patterns of keys; scan.rules says what they match."""
    allow_empty: bool = False
    """Whether a scan that finds nothing to scan is a good one."""
    late_before: datetime | None = None
    late_prefixes: tuple[str, ...] = ()
    """Prefixes that are listed as well; what is under them, or was modified before that time, belongs to earlier scans:
    what none of them has seen came late."""
    key_range: KeyRange = ALL_KEYS
    """The keys that are listed, of those under the prefixes: one shard of a larger scan."""
    flood_band: str = "auto"
    """Which shares of flagged images are no reason to hold the scan; scan.flood says what it may be."""
    flood_source: str = ""
    """What its share is compared with: earlier scans of the bucket that say the same; empty: the prefix."""

    def in_window(self, last_modified: datetime) -> bool:
        """Whether an object of that time belongs to this scan."""
        return (self.since is None or last_modified >= self.since) and (
            self.until is None or last_modified < self.until
        )

    @property
    def source_digest(self) -> bytes:
        """SHA-256 of what it has in common with the scans that its share of flagged images is compared with.

        A retry of what failed is another kind of scan, and has a past of its own.
        """
        kind = ("retry",) if self.retry_failed else ()
        return hashlib.sha256("\0".join((self.bucket, self.flood_source or self.prefix, *kind)).encode()).digest()

    @property
    def looks_back(self) -> bool:
        """Whether some of what it lists belongs to earlier scans."""
        return self.late_before is not None or bool(self.late_prefixes)

    def belongs_to_earlier(self, image: ListedObject) -> bool:
        """Whether an earlier scan should have seen the object."""
        if self.late_before is not None and image.last_modified < self.late_before:
            return True
        return image.key.startswith(self.late_prefixes)


@dataclass(frozen=True, slots=True)
class StoredOutcome:
    """What is stored of an image by one model version. `decoder_version` says which decoder gave it up, if one did."""

    outcome: Outcome
    code: str
    score: float | None
    decoder_version: int | None

    def is_settled(self, decoder_version: int) -> bool:
        """Whether another try has no chance to end otherwise."""
        if self.outcome is Outcome.UNREADABLE or self.code in SETTLED_FAILURES:
            return (self.decoder_version or 0) >= decoder_version
        return self.outcome in SETTLED


@dataclass(frozen=True, slots=True)
class FencingToken:
    """The right to write for a scan: its number in MySQL, and that of its run. Only the newest run's is valid."""

    scan_number: int
    run_number: int


@dataclass(frozen=True, slots=True)
class OutcomeTally:
    """How many images of a run were committed with one outcome and error code, and how many of them are flagged.

    `digest` is the sum of their identities modulo 2**256, as in ListingDigest; `code` is empty when there is a score.
    """

    outcome: Outcome
    code: str
    images: int
    flagged: int
    digest: int


@dataclass(frozen=True, slots=True)
class Lease:
    """Who runs a scan, until when (in the database's time), and how many seconds of that are left."""

    scan_id: str
    holder: str
    until: datetime
    left_s: float

    def __str__(self) -> str:
        return f"scan {self.scan_id} is held by {self.holder}"


class ListingDigest:
    """Order-independent digest of a listing: the sum of the images' identities modulo 2**256 (AdHash).

    Unlike XOR, a sum does not lose an object that is listed twice. Bellare & Micciancio, "A New Paradigm for
    Collision-Free Hashing", 1997; against accidents, not against an adversary who chooses keys.
    """

    def __init__(self) -> None:
        self._sum = 0

    @property
    def value(self) -> int:
        """The sum."""
        return self._sum

    def add(self, identities: Iterable[bytes], times: int = 1) -> None:
        """Take in 32-byte identities; out again with `times` -1."""
        self._sum = (self._sum + times * sum(int.from_bytes(i, "big") for i in identities)) % (1 << 256)

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
    run_number: int = 0
    decoder_version: int = 0
    codes: Mapping[str, int] = field(default_factory=dict)
    """How many images ended with each error code, as MySQL counts them."""
    flagged_new: int = 0
    """How many of `flagged` this scan has scored itself."""
    failure_samples: tuple[FailureSample, ...] = ()
    problems: tuple[str, ...] = field(default=())
    """Why the certificate does not hold; empty when it does."""
    steady_images_per_s: float = 0.0
    """The speed without start and end; 0 when there were too few images to measure it."""
    consumers: int = 0
    """The most that took part at the same time."""
    warnings: tuple[str, ...] = ()
    """What somebody should look at, though the certificate may hold."""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    """The rules by which objects were skipped, besides folder markers."""
    late: int = 0
    """Objects that no scan had seen before, though they belong to earlier ones; see ScanRequest."""
    late_before: datetime | None = None
    late_prefixes: tuple[str, ...] = ()
    key_range: KeyRange = ALL_KEYS
    """The keys that were listed, of those under the prefix."""
    held: str = ""
    """Why its share of flagged images is none that the past makes likely; empty when it is one."""
    released: str = ""
    """Who released what was held, and why; empty: nobody has."""

    @property
    def is_held(self) -> bool:
        """Whether its results wait for a person."""
        return bool(self.held and not self.released)

    rest_after: str | None = None
    """Of a shard that ended early: the last key of its range, after which another part of the shard goes on."""

    @property
    def holds(self) -> bool:
        """Whether every listed object is accounted for within the error budget, and nothing is held back."""
        return not self.problems and not self.is_held

    @property
    def objections(self) -> tuple[str, ...]:
        """Why it does not hold: the problems, and that it is held."""
        return (*([f"held: {self.held}"] if self.is_held else []), *self.problems)

    @property
    def handed_out(self) -> int:
        """How many of the listed objects went to the fleet."""
        return sum(
            count for outcome, count in self.outcomes.items() if outcome not in (Outcome.UNCHANGED, Outcome.SKIPPED)
        )

    def document(self) -> dict[str, Any]:
        """As JSON-ready values; times as ISO 8601, plus `holds`."""
        document = dataclasses.asdict(self) | {"holds": self.holds}
        for name in _TIMES:
            document[name] = document[name] and document[name].isoformat()
        return document

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Self:
        """The inverse of document(). What an older release did not write has its default."""
        fields = {field.name: document[field.name] for field in dataclasses.fields(cls) if field.name in document}
        for name in _TIMES:
            fields[name] = datetime.fromisoformat(fields[name]) if fields.get(name) else None
        fields["outcomes"] = {Outcome(name): count for name, count in fields["outcomes"].items()}
        fields["failure_samples"] = tuple(
            FailureSample(**(sample | {"outcome": Outcome(sample["outcome"])})) for sample in fields["failure_samples"]
        )
        if "key_range" in fields:
            fields["key_range"] = KeyRange(**fields["key_range"])
        for name in ("problems", "warnings", "include", "exclude", "late_prefixes"):
            fields[name] = tuple(fields.get(name, ()))
        return cls(**fields)
