"""What the programs that read labelled images report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """How many labelled images there are, and how many of them the last snapshot does not name."""

    labelled: int
    new: int


@dataclass(frozen=True, slots=True)
class SnapshotSummary:
    """A new manifest: its digest, its images by split and label, and how many files were left out, by reason.

    `small_parts` has a sentence for each class or slice with too few images to be judged by. `skipped` counts files
    that are no images: the system's own, an archive's, documents.
    """

    manifest_digest: str
    sizes: Mapping[str, Mapping[str, int]]
    left_out: int
    left_out_by_code: Mapping[str, int]
    small_parts: tuple[str, ...]
    skipped: int = 0
