"""What was pruned and what was erased, as records for machines and people."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Removed:
    """How many rows went: results by a model version, and images that then had no result at all."""

    predictions: int = 0
    images: int = 0

    def __add__(self, other: Removed) -> Removed:
        return Removed(self.predictions + other.predictions, self.images + other.images)


@dataclass(frozen=True, slots=True)
class Erasure:
    """An erasure as MySQL keeps it: whose keys, but not which, so that the record holds nothing of what went.

    It is recorded twice: before anything goes, without counts, and when all is gone. `target_digest` is the SHA-256
    (hex) of the key or the prefix: whoever knows it can prove that it was erased.
    """

    bucket: str
    kind: str
    target_digest: str
    requested_by: str
    reason: str
    removed: Removed | None = None
    certificates: int | None = None
    """So many certificates named one of the keys among their samples, and do so no more."""
    copies: int | None = None
    """So many copies of decided images were deleted: of bytes that no decision is about any more."""
