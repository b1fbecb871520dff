"""The step `verify`: golden scores, latency and decisions of a loaded version, beside the stable one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from sniffer.adapters.mysql.database import Database
from sniffer.core.model_records import ModelRecord
from sniffer.core.redaction import SecretUrl
from sniffer.core.rollout_records import GoldenDifferences, LatencyComparison, ShadowReport, VerifyReport
from sniffer.core.settings import FetchSettings, ImageSettings
from sniffer_rollout.candidates import Candidates
from sniffer_rollout.proofs.golden_check import GoldenLimits, check_golden
from sniffer_rollout.proofs.latency import LatencyLimits, compare_latency
from sniffer_rollout.proofs.shadow import ShadowLimits, check_shadow, fetch_pixels

log = logging.getLogger(__name__)

_ANSWER_PATIENCE_S = 30.0
"""How long a server that answers 503 while it is being verified is asked again."""


@dataclass(frozen=True, slots=True)
class VerifyLimits:
    """What `verify` accepts."""

    golden: GoldenLimits = field(default_factory=GoldenLimits)
    latency: LatencyLimits = field(default_factory=LatencyLimits)
    shadow: ShadowLimits = field(default_factory=ShadowLimits)


@dataclass(frozen=True, slots=True)
class Verification:
    """The proofs, and what they need. `pause(0)` may raise to end a measurement early."""

    database: Database
    candidates: Candidates
    limits: VerifyLimits
    fetch: FetchSettings
    images: ImageSettings
    pause: Callable[[float], None]

    def verify(
        self, record: ModelRecord, stable: ModelRecord | None, replicas: Sequence[SecretUrl], alone: str
    ) -> VerifyReport:
        """All proofs of a version that is loaded on these servers; raises ContractError for the first that fails.

        `alone` says why, when there is no stable version to compare with.
        """
        golden = self.prove_golden(record, replicas)
        if stable is None or stable.version == record.version:
            why = alone if stable is None else "it is the stable version"
            log.info("version %d: %s, so only its golden examples are checked", record.version, why)
            return VerifyReport(record.version, golden, note=why)
        latency = self._compare_latency(record, stable, replicas)
        shadow = self._compare_decisions(record, stable, replicas[0])
        return VerifyReport(record.version, golden, stable.version, latency, shadow)

    def prove_golden(self, record: ModelRecord, replicas: Collection[SecretUrl]) -> dict[str, GoldenDifferences]:
        """The golden differences at each server; raises ContractError for one above its limit."""
        examples, limits = self.candidates.golden(record), self.limits.golden
        found = {
            str(replica): check_golden(replica, record.version, examples, limits, _ANSWER_PATIENCE_S)
            for replica in replicas
        }
        log.info("version %d scores %d golden examples as published: %s", record.version, len(examples), found)
        return found

    def _compare_latency(
        self, record: ModelRecord, stable: ModelRecord, replicas: Collection[SecretUrl]
    ) -> dict[str, LatencyComparison]:
        images = [example.image.pixels.tobytes() for example in self.candidates.golden(record)]
        limits, versions = self.limits.latency, (record.version, stable.version)
        found = {
            str(replica): compare_latency(replica, *versions, images, limits, _ANSWER_PATIENCE_S, self.pause)
            for replica in replicas
        }
        log.info("latency beside version %d: %s", stable.version, found)
        return found

    def _compare_decisions(self, record: ModelRecord, stable: ModelRecord, replica: SecretUrl) -> ShadowReport | None:
        limits = self.limits.shadow
        sample = self.database.images.recent_images(limits.images)
        if not sample and limits.least == 0:
            log.info("no scanned images: nothing to compare decisions on")
            return None
        pixels, left_out = fetch_pixels(sample, self.fetch, self.images)
        per_day = self.database.scans.images_per_day()
        found = check_shadow(replica, stable, record, pixels, left_out, per_day, limits, _ANSWER_PATIENCE_S)
        log.info(
            "decisions beside version %d: %d images compared, %d flagged instead of %d, %.1f%% decided differently",
            stable.version,
            found.compared,
            found.flagged_by_candidate,
            found.flagged_by_stable,
            100 * found.flip_share,
        )
        return found
