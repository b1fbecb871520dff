"""The steps of a rollout. Each may be run again at any time, and does only what is left.

The table `models` says what is stable and previous; the target is made to follow it. What a crash leaves behind:

* in `load`: the version is loaded, or on its way, beside the others. Nobody asks for it. A rerun goes on waiting.
* in `verify`: the same; without the label `verified`, which comes last, `promote` refuses the version.
* in `promote`, before the labels have moved on every server: some servers' label `stable` stands for the new version.
  Scans resolve `stable` by the database and ask by number, so they see no difference. A rerun moves the rest.
* in `promote`, after that and before the transaction in `models`: the same, on all servers. A rerun finishes.
* in `promote`, after the transaction: the version is stable. What is left is to unload what nobody needs any more; the
  rerun, the next rollout and `restore` do that.

Until the transaction `restore` undoes everything; after it, it finishes. `rollback` is the same with the versions
exchanged. Versions that scans are pinned to, stable and previous stay loaded all along.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sniffer.adapters.images import PREPROCESSING_VERSION
from sniffer.adapters.mysql.database import Database
from sniffer.adapters.serving import ModelServer
from sniffer.core.errors import ContractError, SettingsError, SnifferError, TransientError
from sniffer.core.model_records import ModelRecord, ModelStatus
from sniffer.core.settings import FetchSettings, ImageSettings, RolloutSettings
from sniffer_model.release.golden import read_golden
from sniffer_model.release.model_base import ModelBase, open_model_base
from sniffer_model.release.publish import ModelFacts, read_facts
from sniffer_rollout.aspired import CANARY, STABLE, VERIFIED, Aspired, as_document
from sniffer_rollout.convergence import Lag, LoadFailed, label_lag, lags, version_lag, wait_for_all
from sniffer_rollout.production_state import ProductionState, read_standing
from sniffer_rollout.proofs.golden_check import GoldenLimits, check_golden
from sniffer_rollout.proofs.latency import LatencyLimits, compare_latency
from sniffer_rollout.proofs.shadow import ShadowLimits, check_shadow, fetch_pixels
from sniffer_rollout.targets.target import SURGE, Target

log = logging.getLogger(__name__)

_USABLE = (ModelStatus.BLESSED, ModelStatus.STABLE, ModelStatus.PREVIOUS)
_ROLLBACK_LIMIT_S = 30.0
"""How long a rollback waits for every server, while some have the version."""
_ANSWER_PATIENCE_S = 30.0
"""How long a server that answers 503 while it is being verified is asked again."""


@dataclass(frozen=True, slots=True)
class VerifyLimits:
    """What `verify` lets pass."""

    golden: GoldenLimits = field(default_factory=GoldenLimits)
    latency: LatencyLimits = field(default_factory=LatencyLimits)
    shadow: ShadowLimits = field(default_factory=ShadowLimits)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the steps work with. `downloads` is a folder for versions that are fetched from S3."""

    database: Database
    target: Target
    settings: RolloutSettings
    limits: VerifyLimits
    fetch: FetchSettings
    images: ImageSettings
    downloads: Path
    pause: Callable[[float], None]
    """Waits so many seconds; raises when the program shall end."""


class Rollout:
    """One version on its way into the target. Every step returns what it found, JSON-ready."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._database = parts.database
        self._target = parts.target
        self._settings = parts.settings
        self._opened: ModelBase | None = None
        self._fetched: dict[int, Path] = {}

    # ---- the steps ------------------------------------------------------------------------------------------

    def preflight(self, asked: int | None) -> dict[str, Any]:
        """Whether the version, or else the newest blessed one, may be rolled out. Changes nothing."""
        record = self._candidate(asked)
        self._published(record)
        aspired, mode = self._target.read_aspired(), self._target.mode()
        servers, troubles = self._reachable()
        standing = read_standing(self._database)
        place = f"{self._target.description}, {mode.name}: {mode.reason}"
        log.info("version %d may be rolled out to %s", record.version, place)
        return {
            "version": record.version,
            "digest": record.digest,
            "stable": standing.stable_version,
            "mode": asdict(mode),
            "servers": servers,
            "troubles": troubles,
            "aspired": as_document(aspired),
        }

    def load(self, version: int) -> dict[str, Any]:
        """Load the version beside what serves, and label it `canary` once every server answers for it.

        In two moves, since a server refuses a label of a version that it has not loaded, and the rest of the config
        with it. In surge mode a server of its own proves the version first.
        """
        record = self._candidate(version)
        standing, begun_s = read_standing(self._database), time.monotonic()
        aspired = self._aspired(standing).beside(version)
        surged = self._surge(record) if version not in self._target.read_aspired().versions else None
        replicas = self._load_everywhere(aspired, version)
        canary = None if version == standing.stable_version else version
        self._apply(aspired.labelled(stable=standing.stable_version, canary=canary))
        self._wait_for_labels(standing.stable_version, canary, self._settings.label_limit_s)
        seconds = time.monotonic() - begun_s
        log.info("version %d answers on %d servers, after %.1f s", version, len(replicas), seconds)
        return {"version": version, "servers": list(replicas), "seconds": seconds, "surge": surged}

    def verify(self, version: int) -> dict[str, Any]:
        """Prove the loaded version on every server: golden scores, latency and decisions beside the stable version.

        What passes gets the label `verified`, without which `promote` takes nothing.
        """
        record = self._candidate(version)
        replicas = self._loaded_on(version)
        stable = read_standing(self._database).stable
        found = self._proofs(record, stable, replicas)
        stable_version = None if stable is None else stable.version
        if stable_version != version:
            aspired = self._target.read_aspired()
            self._apply(aspired.labelled(stable=stable_version, canary=version, verified=version))
        return found

    def promote(self, version: int) -> dict[str, Any]:
        """Make the version stable: on every server, then in `models`; the former one stays loaded as previous."""
        record = self._candidate(version)
        standing = read_standing(self._database)
        if standing.stable_version != version:
            labels = self._target.read_aspired().labels
            # `stable` is what an interrupted promote leaves.
            if version not in (labels.get(VERIFIED), labels.get(STABLE)):
                raise SettingsError(
                    f"version {version} is not verified (any more): a restore or a rollback took it back, or it never "
                    "was; run the steps `load` and `verify`"
                )
            replicas = self._loaded_on(version)
            # The servers may be others than those that were verified.
            self._prove_golden(record, replicas)
            self._apply(self._aspired(standing).beside(version).labelled(stable=version))
            self._wait_for_labels(version, None, self._settings.label_limit_s)
            self._database.models.promote(version)
        return {"former": standing.stable_version} | self._follow_database()

    def restore(self) -> dict[str, Any]:
        """Bring the servers back to what `models` says."""
        return self._follow_database()

    def rollback(self, to: int | None) -> dict[str, Any]:
        """Make the previous version stable again, and the stable one previous; only see to the servers when `to` is.

        Servers that do not come along soon are left behind, as long as one does: they follow when they can.
        """
        standing = read_standing(self._database)
        if to is not None and to == standing.stable_version:
            return {"former": None} | self._follow_database()
        previous = standing.previous
        if previous is None or to not in (None, previous.version):
            raise SettingsError(
                f"cannot go back to {'version ' + str(to) if to else 'the previous version'}: the previous version in "
                f"`models` is {previous.version if previous else 'none'}"
            )
        left_behind: list[str] | None = None
        try:
            self._go_back(standing, previous.version)
        except (TransientError, LoadFailed) as error:
            left_behind = self._left_behind(previous.version, error)
        self._database.models.promote(previous.version)
        found = self._follow_database(wait=left_behind is None)
        return {"former": standing.stable_version, "left_behind": left_behind or []} | found

    # ---- what they are made of ------------------------------------------------------------------------------

    def _reachable(self) -> tuple[list[str], list[str]]:
        """The servers that answer, and what is wrong with others; raises TransientError when none answers."""
        replicas = self._target.replicas()
        silent = lags(replicas.urls, _answers)
        troubles = [*replicas.troubles, *(lag.reason for lag in silent.values())]
        if len(silent) == len(replicas.urls):
            raise TransientError(f"no model server of {self._target.description} answers: {'; '.join(troubles)}")
        if troubles:
            log.warning("the servers are in trouble already: %s", "; ".join(troubles))
        return [url for url in replicas.urls if url not in silent], troubles

    @property
    def _base(self) -> ModelBase:
        if self._opened is None:
            self._opened = open_model_base(self._settings.model_base)
        return self._opened

    def _candidate(self, asked: int | None) -> ModelRecord:
        """The row of the version, or of the newest one that is blessed, complete and newer than the stable one."""
        if asked is None:
            return self._newest_blessed()
        record = self._database.models.get(asked)
        if record is None or record.digest == "":
            raise SettingsError(f"version {asked} is not in `models`: export it first, with the database")
        if record.status not in _USABLE:
            raise ContractError(f"version {asked} is {record.status}: only what the gate blessed is rolled out")
        return record

    def _newest_blessed(self) -> ModelRecord:
        stable = read_standing(self._database).stable_version or 0
        complete = set(self._base.versions())
        for record in self._database.models.of_status(ModelStatus.BLESSED):
            if record.version > stable and record.version in complete:
                return record
        raise SettingsError(
            f"there is no blessed, complete version above the stable one ({stable or 'none yet'}) in "
            f"{self._base.location}: train and export one, or name one by --version"
        )

    def _published(self, record: ModelRecord) -> Path:
        """The published version's directory; raises ContractError unless it is what was registered. Fetched once."""
        if record.version not in self._fetched:
            directory = self._base.fetch(record.version, self._parts.downloads)
            self._check_facts(record, read_facts(directory))
            self._fetched[record.version] = directory
        return self._fetched[record.version]

    def _check_facts(self, record: ModelRecord, facts: ModelFacts) -> None:
        if facts.digest != record.digest:
            raise ContractError(
                f"version {record.version} in {self._base.location} is not the one in `models`: its digest is "
                f"{facts.digest[:12]}…, not {record.digest[:12]}…"
            )
        for where, made in (("published", facts.preprocessing_version), ("registered", record.preprocessing_version)):
            if made != PREPROCESSING_VERSION:
                raise ContractError(
                    f"version {record.version} is {where} with preprocessing {made!r}, this release makes "
                    f"{PREPROCESSING_VERSION!r}: roll out with the release it was trained with, or retrain"
                )

    def _aspired(self, standing: ProductionState) -> Aspired:
        """What the database asks for. A version that is neither on the servers nor in the model base is left out: one

        that nobody can have must not keep all others away.
        """
        # The model base is asked only then: restore and rollback must work while S3 is away.
        unknown = standing.optional - set(self._target.read_aspired().versions)
        lost = unknown - set(self._base.versions()) if unknown else unknown
        if lost:
            log.warning("versions %s are asked for, but not in %s any more", sorted(lost), self._settings.model_base)
        return standing.aspired(lost)

    def _apply(self, aspired: Aspired) -> None:
        before = self._target.read_aspired()
        self._target.apply(aspired)
        if before != aspired:
            log.info("%s now shall serve %s", self._target.description, aspired.json())

    def _surge(self, record: ModelRecord) -> dict[str, Any] | None:
        """Load and prove the version in a server of its own, in surge mode."""
        mode = self._target.mode()
        log.info("%s: %s", mode.name, mode.reason)
        if mode.name != SURGE:
            return None
        begun_s = time.monotonic()
        with self._target.canary(Aspired.of([record.version])) as canary:
            what, limit_s = f"loading version {record.version} in the canary", self._settings.load_limit_s
            replicas = wait_for_all(
                canary, version_lag(record.version), what, limit_s, self._settings, self._parts.pause
            )
            golden = self._prove_golden(record, replicas)
        return {"seconds": time.monotonic() - begun_s, "golden": golden}

    def _go_back(self, standing: ProductionState, version: int) -> None:
        """The version answers on every server, and the label stands for it."""
        aspired, ask = self._aspired(standing).beside(version), version_lag(version)
        urls = self._target.replicas().urls
        lacking = lags(urls, ask)
        self._apply(aspired)
        # Where no server has it there is nothing to go back to before it is loaded.
        limit_s = _ROLLBACK_LIMIT_S if len(lacking) < len(urls) else self._settings.load_limit_s
        wait_for_all(
            self._target, ask, f"loading version {version}", limit_s, self._settings, self._parts.pause, lacking
        )
        self._apply(aspired.labelled(stable=version))
        self._wait_for_labels(version, None, _ROLLBACK_LIMIT_S)

    def _load_everywhere(self, aspired: Aspired, version: int) -> tuple[str, ...]:
        stale = self._failures_before(version)
        self._apply(aspired)
        ask, what, limit_s = version_lag(version), f"loading version {version}", self._settings.load_limit_s
        return wait_for_all(self._target, ask, what, limit_s, self._settings, self._parts.pause, stale)

    def _wait_for_labels(self, stable: int | None, canary: int | None, limit_s: float) -> None:
        for label, version in ((STABLE, stable), (CANARY, canary)):
            what = f"moving the label {label}"
            wait_for_all(self._target, label_lag(label, version), what, limit_s, self._settings, self._parts.pause)

    def _loaded_on(self, version: int) -> tuple[str, ...]:
        """The servers, all of which answer for the version now."""
        what, limit_s = f"asking for version {version}", self._settings.label_limit_s
        if version not in self._target.read_aspired().versions:
            raise SettingsError(f"version {version} is not loaded: run the step `load` first")
        return wait_for_all(self._target, version_lag(version), what, limit_s, self._settings, self._parts.pause)

    def _left_behind(self, version: int, error: SnifferError) -> list[str]:
        """The servers that do not answer for the version; raises `error` when none does."""
        urls = self._target.replicas().urls
        lacking = lags(urls, version_lag(version))
        if len(lacking) >= len(urls):
            raise error
        log.error("going back without %s: %s", ", ".join(sorted(lacking)) or "some labels", error)
        return sorted(lacking)

    def _follow_database(self, *, wait: bool = True) -> dict[str, Any]:
        """Aspire to what `models` says; return when every server's label stands for it, or at once."""
        standing = read_standing(self._database)
        aspired = self._aspired(standing)
        stale = self._failures_before(standing.stable_version)
        self._apply(aspired)
        self._target.tidy()
        if wait:
            self._wait_for_standing(standing, stale)
        previous = standing.previous and standing.previous.version
        log.info("stable is %s, previous %s", standing.stable_version or "none", previous or "none")
        return {"stable": standing.stable_version, "previous": previous, "aspired": as_document(aspired)}

    def _failures_before(self, version: int | None) -> dict[str, Lag]:
        """What servers lack of the version before they are told, or told again.

        An END of an earlier try says nothing; even when the version was asked for before, they may not have read it.
        """
        return {} if version is None else lags(self._target.replicas().urls, version_lag(version))

    def _wait_for_standing(self, standing: ProductionState, stale: Mapping[str, Lag]) -> None:
        if standing.stable is not None:
            ask, what = version_lag(standing.stable.version), f"serving version {standing.stable.version}"
            limit_s = self._settings.load_limit_s
            wait_for_all(self._target, ask, what, limit_s, self._settings, self._parts.pause, stale)
        self._wait_for_labels(standing.stable_version, None, self._settings.label_limit_s)

    def _proofs(self, record: ModelRecord, stable: ModelRecord | None, replicas: Sequence[str]) -> dict[str, Any]:
        version, golden = record.version, self._prove_golden(record, replicas)
        if stable is None or stable.version == version:
            why = "there is no stable version yet" if stable is None else "it is the stable version"
            log.info("version %d: %s, so golden examples are all that is checked", version, why)
            return {"version": version, "golden": golden, "stable": None, "latency": None, "shadow": None, "note": why}
        return {
            "version": version,
            "stable": stable.version,
            "golden": golden,
            "latency": self._compare_latency(record, stable, replicas),
            "shadow": self._compare_decisions(record, stable, replicas[0]),
        }

    def _prove_golden(self, record: ModelRecord, replicas: Collection[str]) -> dict[str, dict[str, float]]:
        examples = read_golden(self._published(record))
        limits = self._parts.limits.golden
        found = {
            replica: check_golden(replica, record.version, examples, limits, _ANSWER_PATIENCE_S) for replica in replicas
        }
        log.info("version %d scores %d golden examples as published: %s", record.version, len(examples), found)
        return found

    def _compare_latency(self, record: ModelRecord, stable: ModelRecord, replicas: Collection[str]) -> dict[str, Any]:
        examples = read_golden(self._published(record))
        images, limits = [example.image.pixels.tobytes() for example in examples], self._parts.limits.latency
        found = {
            replica: compare_latency(
                replica, record.version, stable.version, images, limits, _ANSWER_PATIENCE_S, self._parts.pause
            )
            for replica in replicas
        }
        log.info("latency beside version %d: %s", stable.version, found)
        return found

    def _compare_decisions(self, record: ModelRecord, stable: ModelRecord, replica: str) -> dict[str, Any] | None:
        limits = self._parts.limits.shadow
        sample = self._database.images.recent_images(limits.images)
        if not sample and limits.least == 0:
            log.info("no scanned images: nothing to compare decisions on")
            return None
        pixels, left_out = fetch_pixels(sample, self._parts.fetch, self._parts.images)
        per_day = self._database.scans.images_per_day()
        found = check_shadow(replica, stable, record, pixels, left_out, per_day, limits, _ANSWER_PATIENCE_S)
        log.info("decisions beside version %d: %s", stable.version, {k: v for k, v in found.items() if k != "flips"})
        return found


def _answers(server: ModelServer) -> None:
    """Asks a server anything at all; it lacks nothing when it answers."""
    server.version_states()
