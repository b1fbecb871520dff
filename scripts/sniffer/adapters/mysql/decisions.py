"""What a write means for what is stored already: pure, so that every store of results decides alike."""

from __future__ import annotations

from dataclasses import dataclass

from sniffer.core.records import SETTLED, Outcome, Result


@dataclass(frozen=True, slots=True)
class StoredPrediction:
    """What a store holds of one image by one model version, as far as it decides anything."""

    outcome: Outcome
    scan_id: str


@dataclass(frozen=True, slots=True)
class WriteDecision:
    """Whether a result replaces what is stored, and how the image then counts in the scan that wrote."""

    replaces: bool
    counts_as: Outcome


def decide(stored: StoredPrediction | None, result: Result, *, scan_id: str, rescan: bool) -> WriteDecision:
    """A settled result is never replaced (by a rescan: never one of this very scan), so a late duplicate is harmless.

    It then counts as what is stored, or as `unchanged` when another scan stored it first.
    """
    if stored is None or not _stands(stored, scan_id, rescan):
        return WriteDecision(replaces=True, counts_as=result.outcome)
    counts_as = stored.outcome if stored.scan_id == scan_id else Outcome.UNCHANGED
    return WriteDecision(replaces=False, counts_as=counts_as)


def reusable_hash(result: Result) -> bytes | None:
    """The content hash under which others find this score, or None.

    Only the row that asked the model has it: one row per distinct bytes, so that the look-up never walks a million
    copies of one placeholder image.
    """
    return result.content_hash if result.outcome is Outcome.PREDICTED else None


def _stands(stored: StoredPrediction, scan_id: str, rescan: bool) -> bool:
    return stored.outcome in SETTLED and (not rescan or stored.scan_id == scan_id)
