"""How fast a version answers beside the stable one: both get the same batches, in turns."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sniffer.adapters.serving import ModelServer
from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.redaction import SecretUrl
from sniffer.core.rollout_records import Latency, LatencyComparison
from sniffer_rollout.targets.open import serving_at

log = logging.getLogger(__name__)

_WARM_UP_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class LatencyLimits:
    """How much slower the candidate may be. A difference of up to `floor_ms` never counts."""

    rounds: int = 30
    batch: int = 8
    median_ratio: float = 1.5
    p95_ratio: float = 2.0
    floor_ms: float = 5.0

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.batch < 1:
            raise SettingsError("latency needs at least one round of one image: --latency-rounds, --latency-batch")


def compare_latency(
    replica: SecretUrl,
    candidate: int,
    stable: int,
    images: Sequence[bytes],
    limits: LatencyLimits,
    patience_s: float,
    pause: Callable[[float], None],
) -> LatencyComparison:
    """Both versions' figures; raises ContractError when the candidate is slower than the limits allow, twice in a row.

    Twice, since one busy moment of the server moves a percentile of so few batches.
    """
    batch = [images[number % len(images)] for number in range(limits.batch)]
    with ModelServer(serving_at(replica, patience_s)) as server:
        for _ in range(2):
            found = measure(lambda version: server.predict(version, batch), (candidate, stable), limits.rounds, pause)
            excess = _excess(found[candidate], found[stable], limits)
            if excess is None:
                break
            log.info("version %d beside version %d at %s: %s", candidate, stable, replica, excess)
    if excess is not None:
        raise ContractError(
            f"model version {candidate} at {replica} is slower than the stable version {stable}, measured twice: "
            f"{excess}"
        )
    return LatencyComparison(limits.batch, limits.rounds, found[candidate], found[stable])


def _excess(ours: Latency, theirs: Latency, limits: LatencyLimits) -> str | None:
    """What is above the limits, for a person; None when nothing is."""
    for name, mine_ms, other_ms, limit in (
        ("median", ours.median_ms, theirs.median_ms, limits.median_ratio),
        ("95th percentile", ours.p95_ms, theirs.p95_ms, limits.p95_ratio),
    ):
        if mine_ms > limit * other_ms and mine_ms - other_ms > limits.floor_ms:
            return (
                f"{mine_ms:.1f} ms ({name}) for {limits.batch} images, not {other_ms:.1f} ms, which is more than "
                f"{limit:g} times as long"
            )
    return None


def measure(
    predict: Callable[[int], object], versions: tuple[int, int], rounds: int, pause: Callable[[float], None]
) -> dict[int, Latency]:
    """Ask both versions in turns, in alternating order, so that whatever slows the server slows both.

    `pause(0)` may raise before each round.
    """
    times_ms: dict[int, list[float]] = {version: [] for version in versions}
    for number in range(_WARM_UP_ROUNDS + rounds):
        pause(0)
        for version in versions if number % 2 else reversed(versions):
            started_at = time.perf_counter()
            predict(version)
            if number >= _WARM_UP_ROUNDS:
                times_ms[version].append((time.perf_counter() - started_at) * 1000)
    return {
        version: Latency(float(np.median(found)), float(np.percentile(found, 95)))
        for version, found in times_ms.items()
    }
