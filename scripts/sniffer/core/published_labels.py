"""What `sniffer labels publish` reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PublishedLabels:
    """A table of labels was written to `location`: its rows by label, and how many decisions have none, by reason.

    `left_out`: `conflict` (the same bytes were decided both ways), `open` (reviewers disagree, or are not sure) and
    `replaced` (the object has other bytes now). `digest` is the SHA-256 of the table, hex.
    """

    location: str
    labels: Mapping[str, int]
    left_out: Mapping[str, int]
    conflicts: tuple[str, ...]
    digest: str
