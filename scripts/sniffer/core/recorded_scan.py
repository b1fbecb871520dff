"""A scan as MySQL has recorded it, for whoever looks at it from outside."""

from __future__ import annotations

from dataclasses import dataclass

from sniffer.core.records import Certificate

RUNNING, COMPLETE, INCOMPLETE = "running", "complete", "incomplete"
"""States that every release knows; a newer one may have more."""


@dataclass(frozen=True, slots=True)
class RecordedScan:
    """One scan: where it stands, and its certificate once it has ended."""

    scan_id: str
    state: str
    certificate: Certificate | None
    is_part: bool = False
    """Whether it is of a shard of another, whose certificate is the sum."""
