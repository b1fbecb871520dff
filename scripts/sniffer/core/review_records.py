"""Review: what reviewers decide about images, what waits for them, and the rules of which decision counts.

A decision is *live* unless a later one has replaced it. Of each reviewer an image has at most one live decision; a
lead's is an *appeal*, and settles what others have decided.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol, TypeVar

from sniffer.core.errors import SettingsError
from sniffer.core.model_records import LABELS

NOTE_CHARS, REVIEWER_CHARS, SUBMIT_KEY_CHARS = 2000, 200, 64
HASH_BYTES, MAX_DISTANCE = 8, 7
"""Of perceptual hashes; two images are near-duplicates when at most so many bits of their hashes differ."""
_HASH_RANGE = 2**64


class ReviewDecision(StrEnum):
    """What a reviewer says an image shows; `withdrawn` takes an earlier decision back and puts none in its place."""

    DRUG = "drug"
    NOT_DRUG = "not_drug"
    UNSURE = "unsure"
    WITHDRAWN = "withdrawn"


LABEL_OF: Mapping[ReviewDecision, str] = {ReviewDecision.NOT_DRUG: LABELS[0], ReviewDecision.DRUG: LABELS[1]}
"""The classes of the model; `unsure` and `withdrawn` are none."""


class Reason(StrEnum):
    """Why an image is a drug image."""

    RECREATIONAL_DRUG = "recreational_drug"
    CANNABIS = "cannabis"
    PRESCRIPTION_MEDICINE = "prescription_medicine"
    PARAPHERNALIA = "paraphernalia"
    ADVERTISEMENT_TEXT = "advertisement_text"
    OTHER = "other"


class EnteredBy(StrEnum):
    """How an image came before its reviewer; `appeal`: before a lead; `import`: it was decided elsewhere."""

    FLAGGED = "flagged"
    SAMPLE = "sample"
    SECOND = "second"
    APPEAL = "appeal"
    IMPORT = "import"


class QueueOrder(StrEnum):
    """Which images come first.

    `score`: the highest. `information`: those whose label teaches the model most. A score is a calibrated probability,
    so its distance from the threshold in log-odds, |logit(score) - logit(threshold)|, says how sure the model is of
    what it decided; the nearest come first. Of flagged images these are the lowest scores.
    """

    SCORE = "score"
    INFORMATION = "information"


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Which part of the queue is asked for; times are UTC, of the object's last modification.

    `low` and `high` bound the place in the queue, which of a flagged image is its score: of one that was drawn at
    random it tells nothing, so a filter does not give it away.
    """

    bucket: str | None = None
    prefix: str = ""
    since: datetime | None = None
    until: datetime | None = None
    low: float | None = None
    high: float | None = None
    model_version: int | None = None


EVERYTHING = QueueFilter()


@dataclass(frozen=True, slots=True)
class QueueItem:
    """An image that waits, or is held by a reviewer. `score`, `entered_by` and `probability` are not for reviewers.

    `etag` is bare; `content_hash` is None until the bytes were read. `is_replaced`: the object has a newer version.
    """

    image_id: int
    bucket: str
    key: str
    etag: str
    size_bytes: int
    last_modified: datetime
    content_hash: bytes | None
    score: float | None
    threshold: float | None
    model_version: int
    rendering: str | None
    entered_by: EnteredBy
    probability: float
    is_replaced: bool = False


@dataclass(frozen=True, slots=True)
class QueueKey:
    """Where a page of the queue ended."""

    place: float
    image_id: int


@dataclass(frozen=True, slots=True)
class QueuePage:
    """A part of the queue in its order; `after` is where the next page begins, None: there is no more."""

    items: tuple[QueueItem, ...]
    after: QueueKey | None


@dataclass(frozen=True, slots=True)
class SecondReview:
    """Which share of the decided images a second reviewer decides, too.

    Which ones follows from the image's identity and the secret alone: whoever uploads or decides cannot steer it.
    """

    share: float = 0.0
    secret: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise SettingsError(f"the share of second reviews must be from 0 to 1, not {self.share:g}")
        if 0 < self.share < 1 and not self.secret:
            raise SettingsError("a share of second reviews needs a secret: else uploaders could work out which")

    def includes(self, identity: bytes) -> bool:
        """Whether the image with that identity is one of the share."""
        drawn = hashlib.sha256(self.secret.encode() + b"\0" + identity).digest()[:8]
        return int.from_bytes(drawn) / _HASH_RANGE < self.share


NO_SECOND_REVIEW = SecondReview()


@dataclass(frozen=True, slots=True)
class NewDecision:
    """A decision as it is submitted. What the image's score was, and how it came up, the database knows.

    `content_hash` is of the bytes that were shown; None: as the scan has read them. `replaces` is the number of the
    decision that this one corrects or, as `withdrawn`, takes back. `is_appeal`: a lead settles an image that need not
    be in the queue. `was_replaced`: S3 has other bytes under its key by now, whether a scan has seen them or not.
    Raises SettingsError for what does not go together.
    """

    image_id: int
    decision: ReviewDecision
    reason: Reason | None = None
    note: str = ""
    batch: str = ""
    replaces: int | None = None
    content_hash: bytes | None = None
    was_unblurred: bool = False
    is_appeal: bool = False
    was_replaced: bool = False

    def __post_init__(self) -> None:
        if (self.reason is not None) != (self.decision is ReviewDecision.DRUG):
            raise SettingsError(f"image {self.image_id}: `drug` has a reason, and nothing else has one")
        if self.decision is ReviewDecision.WITHDRAWN and self.replaces is None:
            raise SettingsError(f"image {self.image_id}: `withdrawn` needs the number of the decision it takes back")
        if self.is_appeal and (self.replaces is not None or self.decision is ReviewDecision.UNSURE):
            raise SettingsError(f"image {self.image_id}: an appeal decides `drug` or `not_drug`, and replaces nothing")
        if len(self.note) > NOTE_CHARS:
            raise SettingsError(f"image {self.image_id}: its note has over {NOTE_CHARS:,} characters")
        if len(self.batch) not in (0, 32):
            raise SettingsError(f"image {self.image_id}: a batch is named by 32 characters")


@dataclass(frozen=True, slots=True)
class ImportedDecision:
    """A decision that was made in another program. `content_hash`: of the bytes that were shown there, if known."""

    image_id: int
    decision: ReviewDecision
    reviewer: str
    reason: Reason | None = None
    note: str = ""
    content_hash: bytes | None = None


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of an import: decisions added, those that were there already, and why others were refused."""

    added: int
    unchanged: int
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """A decision as it is kept. `score` and `threshold` are what they were then; `is_live`: nothing replaced it."""

    number: int
    image_id: int
    content_hash: bytes | None
    decision: ReviewDecision
    reason: Reason | None
    note: str
    reviewer: str
    decided_at: datetime
    model_version: int
    score: float | None
    threshold: float | None
    entered_by: EnteredBy
    probability: float
    batch: str
    replaces: int | None
    was_replaced: bool
    was_unblurred: bool
    is_live: bool


@dataclass(frozen=True, slots=True)
class DecidedImage:
    """An image and a decision of it, as the label table and the exports need them."""

    row: DecisionRow
    bucket: str
    key: str
    etag: str
    is_replaced: bool


@dataclass(frozen=True, slots=True)
class DayFigures:
    """What a reviewer did on a day (UTC). `exposures` are images that were seen unblurred, or found to show drugs."""

    day: date
    reviewer: str
    drug: int
    not_drug: int
    unsure: int
    withdrawn: int
    batches: int
    unblurred: int
    exposures: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often two reviewers of one image agree, beyond chance; `kappa` is None without pairs, or with one answer."""

    kappa: float | None
    pairs: int

    @classmethod
    def of(cls, pairs: Mapping[tuple[ReviewDecision, ReviewDecision], int]) -> Agreement:
        """Cohen's kappa: (observed - expected) / (1 - expected) agreement (Cohen 1960), `unsure` being an answer."""
        total = sum(pairs.values())
        if not total:
            return cls(None, 0)
        observed = sum(count for (one, other), count in pairs.items() if one is other) / total
        expected = sum(
            sum(count for (one, _), count in pairs.items() if one is each)
            * sum(count for (_, other), count in pairs.items() if other is each)
            for each in ReviewDecision
        ) / (total * total)
        return cls(None if expected == 1 else (observed - expected) / (1 - expected), total)


class LiveDecision(Protocol):
    """As much of a live decision as the rules of which one counts ask for."""

    @property
    def number(self) -> int:
        """It counts up."""

    @property
    def decision(self) -> ReviewDecision:
        """What was said."""

    @property
    def entered_by(self) -> EnteredBy:
        """`appeal`: it is a lead's."""

    @property
    def content_hash(self) -> bytes | None:
        """SHA-256 of the bytes that it is about; None: not known."""


LiveDecisionT = TypeVar("LiveDecisionT", bound=LiveDecision)


def waits_for(live: Sequence[DecisionRow], *, is_chosen: bool) -> EnteredBy | None:
    """For whom an image waits after these live decisions: None is nobody, `flagged` stands for its first reviewer.

    Chosen images get a second reviewer. Whoever disagrees, or is not sure, sends the image to a lead.
    """
    if any(row.entered_by is EnteredBy.APPEAL for row in live):
        return None
    said = {row.decision for row in live}
    if not live:
        return EnteredBy.FLAGGED
    if ReviewDecision.UNSURE in said or len(said) > 1:
        return EnteredBy.APPEAL
    return EnteredBy.SECOND if is_chosen and len(live) == 1 else None


def counting_decision(live: Sequence[LiveDecisionT]) -> LiveDecisionT | None:
    """The decision that counts among these live ones of one image; None while it is open.

    A lead's newest; else what all have said, by the newest row. `unsure` is no label, nor is a disagreement.
    """
    if appeals := [row for row in live if row.entered_by is EnteredBy.APPEAL]:
        return max(appeals, key=lambda row: row.number)
    if len({row.decision for row in live}) != 1 or live[0].decision not in LABEL_OF:
        return None
    return max(live, key=lambda row: row.number)
