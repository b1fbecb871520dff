"""What the step `verify` found, as records, read from its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ServerLatency:
    """How long both versions take for one batch on one server, in milliseconds."""

    server: str
    batch: int
    candidate_median_ms: float
    stable_median_ms: float
    candidate_p95_ms: float
    stable_p95_ms: float


@dataclass(frozen=True)
class ChangedDecision:
    """An image that one version flags and the other does not."""

    bucket: str
    key: str
    stable_score: float
    candidate_score: float
    flagged_now: bool


@dataclass(frozen=True)
class Decisions:
    """What both versions decide on the same scanned images. `flips` are those with the largest change in score."""

    compared: int
    left_out: Mapping[str, int]
    flagged_by_stable: int
    flagged_by_candidate: int
    flip_share: float
    flag_change_per_night: float | None
    flips: tuple[ChangedDecision, ...]


@dataclass(frozen=True)
class Verified:
    """A loaded version beside the stable one. `stable` is None when there is nothing to compare with; `note` says why.

    `golden` holds the largest difference of a golden score from what was published, by server and signature.
    """

    version: int
    stable: int | None
    note: str | None
    golden: Mapping[str, Mapping[str, float]]
    latency: tuple[ServerLatency, ...]
    decisions: Decisions | None

    @classmethod
    def parse(cls, report: Mapping[str, Any]) -> Verified:
        """From the report that `python -m sniffer_rollout verify` writes."""
        return cls(
            version=report["version"],
            stable=report["stable"],
            note=report.get("note"),
            golden=report["golden"],
            latency=tuple(_latency(server, found) for server, found in (report["latency"] or {}).items()),
            decisions=_decisions(report["shadow"]),
        )


def _latency(server: str, found: Mapping[str, Any]) -> ServerLatency:
    ours, theirs = found["candidate"], found["stable"]
    return ServerLatency(
        server, found["batch"], ours["median_ms"], theirs["median_ms"], ours["p95_ms"], theirs["p95_ms"]
    )


def _decisions(found: Mapping[str, Any] | None) -> Decisions | None:
    if found is None:
        return None
    return Decisions(
        compared=found["compared"],
        left_out=found["left_out"],
        flagged_by_stable=found["flagged_by_stable"],
        flagged_by_candidate=found["flagged_by_candidate"],
        flip_share=found["flip_share"],
        flag_change_per_night=found["flag_change_per_night"],
        flips=tuple(ChangedDecision(**flip) for flip in found["flips"]),
    )
