"""Which versions of a model should be served: from the folders found and the policy to what to load and unload next.

Pure decisions; manager.py acts on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

LARGEST_VERSION = 2**63 - 1


class State(StrEnum):
    """Life of a version, as the status URL names it."""

    START = "START"
    LOADING = "LOADING"
    AVAILABLE = "AVAILABLE"
    UNLOADING = "UNLOADING"
    END = "END"


@dataclass(frozen=True, slots=True)
class Latest:
    """Serve the `count` largest versions."""

    count: int = 1


@dataclass(frozen=True, slots=True)
class Specific:
    """Serve exactly these versions, those of them that exist."""

    versions: frozenset[int]


@dataclass(frozen=True, slots=True)
class All:
    """Serve every version there is."""


VersionPolicy = Latest | Specific | All


@dataclass(frozen=True, slots=True)
class VersionState:
    """How far a version has come: its state, and the loads that failed since it became wanted."""

    state: State
    failures: int = 0
    retry_at: float = 0.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a failed load is tried again, and after what wait."""

    max_retries: int = 5
    interval_s: float = 60.0

    def gave_up(self, state: VersionState) -> bool:
        """Whether a version that failed is not tried again as long as it stays where it is."""
        return state.state == State.END and state.failures > self.max_retries


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, in this order; and when a failed version is due again, if any is."""

    unload: tuple[int, ...]
    load: tuple[int, ...]
    next_retry_at: float | None


def parse_version(name: str) -> int | None:
    """The version a folder's name stands for, leading zeros allowed; None if it is no version."""
    digits = name.lstrip("0")
    if not (name.isascii() and name.isdigit()) or len(digits) > len(str(LARGEST_VERSION)):
        return None
    version = int(digits or "0")
    return version if version <= LARGEST_VERSION else None


def found_versions(base_path: Path) -> dict[int, Path]:
    """The version folders directly under `base_path`; raises OSError when it cannot be listed.

    Of two names for one number (`1`, `001`) the one that sorts last counts.
    """
    folders = sorted(child for child in base_path.iterdir() if child.is_dir())
    return {version: folder for folder in folders if (version := parse_version(folder.name)) is not None}


def aspired_versions(policy: VersionPolicy, found: Mapping[int, Path]) -> dict[int, Path]:
    """The versions among `found` that the policy wants served."""
    match policy:
        case Latest(count):
            wanted = set(sorted(found, reverse=True)[:count])
        case Specific(versions):
            wanted = set(versions)
        case All():
            wanted = set(found)
    return {version: folder for version, folder in found.items() if version in wanted}


def plan_changes(
    aspired: Mapping[int, Path], states: Mapping[int, VersionState], retry: RetryPolicy, now: float
) -> Plan:
    """Load what is wanted and due, newest first; unload what is not wanted, but never the last thing served.

    TensorFlow Serving's availability-preserving policy: an unwanted version stays until a wanted one is available.
    With nothing wanted at all (every folder removed, model out of the config) everything goes.
    """
    available = {version for version, state in states.items() if state.state == State.AVAILABLE}
    replaced = not aspired or any(version in available for version in aspired)
    due, later = [], []
    for version in sorted(aspired, reverse=True):
        state = states.get(version, VersionState(State.START))
        if state.state not in (State.START, State.END) or retry.gave_up(state):
            continue
        if state.retry_at <= now:
            due.append(version)
        else:
            later.append(state.retry_at)
    return Plan(
        unload=tuple(sorted(available - set(aspired))) if replaced else (),
        load=tuple(due),
        next_retry_at=min(later, default=None),
    )
