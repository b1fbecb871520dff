"""What the steps of a rollout report, for programs of this release that read it as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sniffer.core.model_records import NOBODY, Decision


@dataclass(frozen=True, slots=True)
class GoldenDifferences:
    """The largest differences between published and served scores of the golden examples, by signature."""

    pixels: float
    serving_default: float


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds for one batch, as the client sees it."""

    median_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class LatencyComparison:
    """Candidate and stable version at one server, `rounds` batches of `batch` images each."""

    batch: int
    rounds: int
    candidate: Latency
    stable: Latency


@dataclass(frozen=True, slots=True)
class Flip:
    """An image that one version flags, at its own threshold, and the other does not."""

    bucket: str
    key: str
    stable_score: float
    candidate_score: float
    flagged_now: bool


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """Decisions of candidate and stable version on the same scanned images. Shares are of the images compared.

    `left_out` counts images that could not be compared, by reason; `flips` holds the largest changes of score only.
    `flag_change_per_night` is None as long as no scan has ended.
    """

    compared: int
    left_out: Mapping[str, int]
    flagged_by_stable: int
    flagged_by_candidate: int
    flip_share: float
    flag_change: float
    flag_change_per_night: float | None
    flips: tuple[Flip, ...]


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `verify` measured, by server URL. `latency` and `shadow` are None where there was nothing to compare with;

    `note` says why there was not.
    """

    version: int
    golden: Mapping[str, GoldenDifferences]
    stable: int | None = None
    latency: Mapping[str, LatencyComparison] | None = None
    shadow: ShadowReport | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Promotion:
    """Which versions are stable and previous after `promote` or `rollback`, and which was stable before it.

    `previous_stable` of a rollback that found nothing to do is None. `decision` is what was recorded with the change.
    """

    previous_stable: int | None
    stable: int | None
    previous: int | None
    decision: Decision = NOBODY


PROMOTION_RENAMED = {"former": "previous_stable"}
"""Fields of a Promotion by the names that they had in earlier releases."""
