"""What of the stored state somebody who watches has to know, beside what running programs tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sniffer.core.recall_records import DriftTest


@dataclass(frozen=True, slots=True)
class StoredState:
    """How many scans wait for a person, how large our tables are with their indexes, by name, and how buckets drift."""

    held: int
    broken: int
    table_bytes: Mapping[str, int]
    drift: tuple[DriftTest, ...]
