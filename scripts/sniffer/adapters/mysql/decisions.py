"""What a write means for what is stored already: pure, so that every store of results decides alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from sniffer.core.records import GIVEN_UP, SETTLED, FencingToken, Outcome, Result


@dataclass(frozen=True, slots=True)
class Counted:
    """How an image counts in one run of a scan: each run counts each image once."""

    token: FencingToken
    outcome: Outcome
    code: str

    def encode(self) -> str:
        """As one column of ASCII."""
        return f"{self.token.scan_number}:{self.token.run_number}:{self.outcome}:{self.code}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of encode()."""
        scan_number, run_number, outcome, code = text.split(":", 3)
        return cls(FencingToken(int(scan_number), int(run_number)), Outcome(outcome), code)


@dataclass(frozen=True, slots=True)
class StoredPrediction:
    """What a store holds of one image by one model version, as far as it decides anything.

    `counted` is how it counts in the run that wrote it, `counted_for` how in a run beside that one.
    """

    counted: Counted
    score: float | None = None
    decoder_version: int | None = None
    counted_for: Counted | None = None

    @property
    def outcome(self) -> Outcome:
        """What became of the image."""
        return self.counted.outcome

    def counted_in(self, token: FencingToken) -> Counted | None:
        """How that run has counted the image, or None when it has not yet."""
        return next((c for c in (self.counted, self.counted_for) if c is not None and c.token == token), None)


@dataclass(frozen=True, slots=True)
class WriteDecision:
    """Whether a result replaces what is stored, and how the image counts in the run that wrote, now and before.

    `counted_for` is to be stored with the row.
    """

    replaces: bool
    counts: Counted
    counted_before: Counted | None
    counted_for: Counted | None


def decide(
    stored: StoredPrediction | None, result: Result, *, token: FencingToken, rescan: bool, decoder_version: int
) -> WriteDecision:
    """A settled result is never replaced (by a rescan: never one of this very scan), so a late duplicate is harmless.

    It then counts as what is stored, or as `unchanged` when another scan stored it first. Within a run the first word
    on an image stands until a settled one comes, so that every consumer that had it is told the same.
    """
    new = Counted(token, result.outcome, result.error_code or "")
    if stored is None:
        return WriteDecision(replaces=True, counts=new, counted_before=None, counted_for=None)
    before = stored.counted_in(token)
    stands = _stands(stored, token, rescan, decoder_version)
    if before is not None and (before.outcome not in GIVEN_UP or not (stands or result.outcome in SETTLED)):
        return WriteDecision(replaces=False, counts=before, counted_before=before, counted_for=stored.counted_for)
    if stands:
        ours = stored.counted.token.scan_number == token.scan_number
        counts = Counted(token, stored.outcome, stored.counted.code) if ours else Counted(token, Outcome.UNCHANGED, "")
        return WriteDecision(replaces=False, counts=counts, counted_before=before, counted_for=counts)
    return WriteDecision(replaces=True, counts=new, counted_before=before, counted_for=_others(stored, token))


def reusable_hash(result: Result) -> bytes | None:
    """The content hash under which others find this score, or None.

    Only the row that asked the model has it: one row per distinct bytes, so that the look-up never walks a million
    copies of one placeholder image.
    """
    return result.content_hash if result.outcome is Outcome.PREDICTED else None


def _stands(stored: StoredPrediction, token: FencingToken, rescan: bool, decoder_version: int) -> bool:
    ours = stored.counted.token.scan_number == token.scan_number
    if stored.outcome is Outcome.UNREADABLE and (stored.decoder_version or 0) < decoder_version:
        return False
    return stored.outcome in SETTLED and (not rescan or ours)


def _others(stored: StoredPrediction, token: FencingToken) -> Counted | None:
    """What the row must still say of another scan's run, once it is ours: that run may be under way."""
    candidates = (stored.counted, stored.counted_for)
    return next((c for c in candidates if c is not None and c.token.scan_number != token.scan_number), None)
