"""The steps of a rollout. Each may be run again at any time, and does only what is left.

The table `models` says what is stable and previous; the target follows it. What a crash leaves behind:

* in `load`: the version is loaded, or on its way, beside the others. Nobody asks for it. A rerun goes on waiting.
* in `verify`: the same. `promote` refuses the version, since the label `verified` is set last.
* in `promote`, before the labels have moved on every server: on some servers the label `stable` points to the new
  version. Scans look up the stable version in the database and ask by number, so they see no difference. A rerun moves
  the other labels.
* in `promote`, after that and before the transaction in `models`: the same, on all servers. A rerun finishes.
* in `promote`, after the transaction: the version is stable. What is left is to unload the versions that nobody needs
  any more; the rerun, the next rollout and `restore` do that.

Until the transaction `restore` undoes everything; after it, `restore` finishes the promotion. `rollback` is the same
with the versions exchanged. The stable and the previous version, and those of running scans, stay loaded all along.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import ContractError, SettingsError, SnifferError, TransientError
from sniffer.core.model_records import NOBODY, Decision, ModelRecord
from sniffer.core.redaction import SecretUrl
from sniffer.core.rollout_records import VerifyReport
from sniffer.core.settings import FetchSettings, ImageSettings, RolloutSettings
from sniffer_rollout.aspired import STABLE, VERIFIED, Aspired
from sniffer_rollout.candidates import Candidates
from sniffer_rollout.convergence import Convergence, LoadFailed, NoNode, NotReady, answers, not_ready, serves_version
from sniffer_rollout.production_state import ProductionState, read_production_state
from sniffer_rollout.reports import CanaryReport, LoadReport, PreflightReport, PromotionReport, RestoreReport
from sniffer_rollout.targets.target import SURGE, Target
from sniffer_rollout.verification import Verification, VerifyLimits

log = logging.getLogger(__name__)

_ROLLBACK_LIMIT_S = 30.0
"""How long a rollback waits for every server, while some have the version."""
_NOTICE_S = 5.0
"""Within this time a server has noticed that a version's files are gone; it looks every second."""

_NODE_LIMIT_S = 60.0
"""How long a canary waits for the node that seemed to have room for it."""

_CRASHES = 2
"""Once may be the machine's fault; a canary's server that dies of a version twice would take the others along."""


@dataclass(frozen=True, slots=True)
class RolloutContext:
    """What the steps work with. `downloads` is a folder for versions that are fetched from S3."""

    database: Database
    target: Target
    settings: RolloutSettings
    limits: VerifyLimits
    fetch: FetchSettings
    images: ImageSettings
    downloads: Path
    pause: Callable[[float], None]
    """Waits so many seconds; raises when the program is asked to end."""


class Rollout:
    """One version on its way into the target. Every step returns a report of what it found."""

    def __init__(self, context: RolloutContext) -> None:
        self._database = context.database
        self._target = context.target
        self._settings = context.settings
        self._pause = context.pause
        self._servers = Convergence(context.target, context.settings, context.pause)
        self._candidates = Candidates(context.database, context.settings.model_base, context.downloads)
        self._verification = Verification(
            context.database, self._candidates, context.limits, context.fetch, context.images, context.pause
        )

    def preflight(self, asked: int | None) -> PreflightReport:
        """Whether the version, or else the newest blessed one, may be rolled out. Changes nothing."""
        record = self._candidates.find(asked)
        self._candidates.files(record)
        aspired, mode = self._target.read_aspired(), self._target.mode()
        servers, problems = self._answering()
        stable = read_production_state(self._database).stable_version
        where = f"{self._target.description}, {mode.name}: {mode.reason}"
        log.info("version %d may be rolled out to %s", record.version, where)
        return PreflightReport(record.version, record.digest, stable, mode, _shown(servers), problems, aspired)

    def tidy(self, keep: int | None = None) -> None:
        """Take back what a rollout has left that was killed: its version, labels and canary, but not version `keep`."""
        production, told = read_production_state(self._database), self._servers.told()
        self._target.tidy()
        if told is None:
            self._tell_production()
            return
        needed = told.tidied(production.versions, keep, production.stable_version)
        if needed != told:
            log.warning("taking back what an earlier rollout has left: %s", told.json())
            self._servers.tell(needed.with_digests(production.digests))

    def load(self, version: int) -> LoadReport:
        """Load the version beside what serves, and label it `canary` once every server answers for it.

        In two moves, since a server refuses a label of a version that it has not loaded, and the rest of the config
        with it. In surge mode a server of its own proves the version first. What an earlier rollout has left is taken
        back before.
        """
        record = self._candidates.find(version)
        self.tidy(keep=version)
        production, started_at = read_production_state(self._database), time.monotonic()
        aspired = self._aspired(production).beside(version, record.digest)
        stable = aspired.labels.get(STABLE)
        is_new = version not in self._target.read_aspired().versions
        surge = self._prove_in_canary(record) if is_new else None
        stale = not_ready(self._target.replicas().urls, serves_version(version))
        self._servers.tell(aspired)
        servers = self._servers.wait_for_version(version, "loading", self._settings.load_limit_s, stale)
        canary = None if version == stable else version
        self._servers.tell(aspired.labelled(stable=stable, canary=canary))
        self._servers.wait_for_labels(stable, canary, self._settings.label_limit_s)
        seconds = time.monotonic() - started_at
        log.info("version %d answers on %d servers, after %.1f s", version, len(servers), seconds)
        return LoadReport(version, _shown(servers), seconds, surge, self._target.replicas().unplaced)

    def verify(self, version: int) -> VerifyReport:
        """Prove the loaded version on every server: golden scores, latency and decisions beside the stable version.

        What passes gets the label `verified`, which `promote` asks for.
        """
        record = self._candidates.find(version)
        aspired = self._target.read_aspired()
        servers, production = self._loaded_on(version, aspired), read_production_state(self._database)
        stable, why = production.stable, "there is no stable version yet"
        if stable is not None and stable.version not in aspired.versions:
            why, stable = f"the stable version {stable.version} cannot be had any more", None
        report = self._verification.verify(record, stable, servers, why)
        if production.stable_version != version:
            pointed = None if stable is None else stable.version
            self._servers.tell(aspired.labelled(stable=pointed, canary=version, verified=version))
        return report

    def promote(self, version: int, decision: Decision = NOBODY) -> PromotionReport:
        """Make the version stable: on every server, then in `models`; the last stable one stays loaded as previous.

        Who decided is recorded in the same transaction.
        """
        record = self._candidates.find(version)
        production = read_production_state(self._database)
        if production.stable_version != version:
            told = self._target.read_aspired()
            # `stable` is what an interrupted promote leaves.
            if version not in (told.labels.get(VERIFIED), told.labels.get(STABLE)):
                raise SettingsError(
                    f"version {version} is not verified (any more): it was never verified, or a restore or rollback "
                    "came after it; run the steps `load` and `verify`"
                )
            servers = self._loaded_on(version, told)
            # The servers may be others than those that were verified.
            self._verification.prove_golden(record, servers)
            aspired = self._aspired(production).beside(version, record.digest)
            self._servers.tell(aspired.labelled(stable=version))
            self._servers.wait_for_labels(version, None, self._settings.label_limit_s)
            self._database.models.promote(version, decision)
        return _promotion(production.stable_version, self.restore(), decision)

    def restore(self) -> RestoreReport:
        """Bring the servers to what `models` says; returns when every server's label `stable` points there.

        What neither the model base nor the servers have any more is left out. ContractError when that is the stable
        version, once the servers are at the rest.
        """
        report, stale = self._tell_production(in_two_moves=True)
        if report.stable is not None and report.stable in report.lost:
            raise ContractError(
                f"no server serves the stable version {report.stable} ({report.lost[report.stable]}): put its files "
                "back, go back by `sniffer rollout rollback`, or roll out another version; all else is restored"
            )
        if report.stable is not None:
            self._servers.wait_for_version(report.stable, "serving", self._settings.load_limit_s, stale)
            self._servers.tell(report.aspired)
        self._servers.wait_for_labels(report.stable, None, self._settings.label_limit_s)
        return report

    def rollback(self, to: int | None, decision: Decision = NOBODY) -> PromotionReport:
        """Make the previous version stable again, and the stable one previous. When `to` is stable: only restore.

        Servers that do not follow soon are left behind, as long as one does; they follow when they can.
        """
        production = read_production_state(self._database)
        if to is not None and to == production.stable_version:
            return _promotion(None, self.restore(), decision)
        previous = production.previous_version
        if previous is None or to not in (None, previous):
            raise SettingsError(
                f"cannot go back to {'version ' + str(to) if to else 'the previous version'}: the previous version in "
                f"`models` is {previous or 'none'}"
            )
        left_behind: tuple[str, ...] | None = None
        try:
            self._go_back(production, self._candidates.find(previous))
        except (TransientError, LoadFailed) as error:
            left_behind = self._left_behind(previous, error)
        self._database.models.promote(previous, decision)
        restored = self.restore() if left_behind is None else self._tell_production()[0]
        return _promotion(production.stable_version, restored, decision, left_behind or ())

    def _answering(self) -> tuple[tuple[SecretUrl, ...], tuple[str, ...]]:
        """The servers that answer, and the problems of the others; raises TransientError when none answers."""
        replicas = self._target.replicas()
        silent = not_ready(replicas.urls, answers)
        problems = (*replicas.problems, *replicas.unplaced, *(found.reason for found in silent.values()))
        answering = tuple(url for url in replicas.urls if url not in silent)
        if not answering:
            raise TransientError(f"no model server of {self._target.description} answers: {'; '.join(problems)}")
        if problems:
            log.warning("the servers have problems already: %s", "; ".join(problems))
        return answering, problems

    def _aspired(self, production: ProductionState) -> Aspired:
        """What the database asks for, without what is lost."""
        for why in production.kept_for_plans():
            log.info("a version stays loaded: %s", why)
        return production.aspired(self._lost(production))

    def _lost(self, production: ProductionState, *, leaving: bool = False) -> dict[int, str]:
        """Versions that cannot be had any more, and why. One such version must not keep the others away.

        Those are not where a server could load them from, nor on every server; the stable one is not lost as long as
        one server has it, which may be all that there is, unless it is what is being left.
        """
        lost = dict(self._target.unservable(production.aspired()))
        replicas, stable = self._target.replicas(), production.stable_version
        # The model base is asked only about what is not served: restore and rollback must work while S3 is away.
        served = {version: self._servers.serving(version) for version in production.versions - set(lost)}
        whole = len(replicas.urls) >= replicas.wanted
        doubtful = [version for version, urls in served.items() if not whole or len(urls) < len(replicas.urls)]
        missing = (self._candidates.missing(doubtful) if doubtful else None) or set()
        lost |= {version: f"there is no version {version} in {self._settings.model_base}" for version in missing}
        if stable in lost and not leaving and self._still_serves(stable):
            del lost[stable]
        for version, why in lost.items():
            log.warning("version %d is left out, since it cannot be had: %s", version, why)
        return lost

    def _still_serves(self, version: int) -> bool:
        """Whether a server still answers for it, after the moment in which a server notices that files are gone."""
        deadline = time.monotonic() + _NOTICE_S
        while self._servers.serving(version):
            if time.monotonic() >= deadline:
                return True
            self._pause(self._settings.poll_s)
        return False

    def _prove_in_canary(self, record: ModelRecord) -> CanaryReport | None:
        """In surge mode, load the version in a server of its own and prove its golden scores there."""
        mode, started_at = self._target.mode(), time.monotonic()
        log.info("%s: %s", mode.name, mode.reason)
        if mode.name != SURGE:
            return None
        limit_s = self._settings.load_limit_s
        with self._target.canary() as canary:
            server = self._servers.of(canary)
            try:
                # With nothing to serve: a server that starts with a version it cannot load never answers, and says why
                # nowhere.
                server.wait_for(answers, "starting the canary", limit_s, node_limit_s=self._node_limit_s)
            except NoNode as error:
                log.warning("%s: %s; the version is loaded in place instead", mode.name, error)
                return None
            server.tell(Aspired().beside(record.version, record.digest))
            what = f"loading version {record.version} in the canary"
            urls = server.wait_for(serves_version(record.version), what, limit_s, crash_limit=_CRASHES)
            golden = self._verification.prove_golden(record, urls)
        return CanaryReport(time.monotonic() - started_at, golden)

    @property
    def _node_limit_s(self) -> float:
        return min(_NODE_LIMIT_S, self._settings.problem_s)

    def _loaded_on(self, version: int, told: Aspired) -> tuple[SecretUrl, ...]:
        """The servers, all of which answer for the version now, as they were told."""
        if version not in told.versions:
            raise SettingsError(f"version {version} is not loaded: run the step `load` first")
        return self._servers.wait_for_version(version, "asking for", self._settings.label_limit_s)

    def _go_back(self, production: ProductionState, record: ModelRecord) -> None:
        """Wait until the version answers on every server, and the label points to it."""
        version = record.version
        lost = self._lost(production, leaving=True)
        if version in lost and not self._still_serves(version):
            raise ContractError(
                f"cannot go back to version {version}, which no server serves and none can load ({lost[version]}): put "
                "its files back, or roll out another version"
            )
        aspired = production.aspired(lost).beside(version, record.digest)
        urls = self._target.replicas().urls
        stale = not_ready(urls, serves_version(version))
        self._servers.tell(aspired)
        # Where no server has it, there is nothing to go back to before it is loaded.
        limit_s = _ROLLBACK_LIMIT_S if len(stale) < len(urls) else self._settings.load_limit_s
        self._servers.wait_for_version(version, "loading", limit_s, stale)
        self._servers.tell(aspired.labelled(stable=version))
        self._servers.wait_for_labels(version, None, _ROLLBACK_LIMIT_S)

    def _left_behind(self, version: int, error: SnifferError) -> tuple[str, ...]:
        """The servers that do not answer for the version; raises `error` when none does."""
        urls = self._target.replicas().urls
        waiting = not_ready(urls, serves_version(version))
        if len(waiting) >= len(urls):
            raise error
        log.error("going back without %s: %s", ", ".join(_shown(sorted(waiting))) or "some labels", error)
        return _shown(sorted(waiting))

    def _tell_production(self, *, in_two_moves: bool = False) -> tuple[RestoreReport, dict[SecretUrl, NotReady]]:
        """Tell the servers what `models` says; also returns the servers that did not serve it before.

        Their failures are of an earlier try: even a server that was told before may not have read it yet. In two moves,
        the labels are left for the caller as long as `stable` has to move to a version that a server has not loaded: it
        would refuse that.
        """
        production = read_production_state(self._database)
        lost, stable, previous = self._lost(production), production.stable_version, production.previous_version
        aspired = production.aspired(lost)
        for why in production.kept_for_plans():
            log.info("a version stays loaded: %s", why)
        stale = {} if stable is None else not_ready(self._target.replicas().urls, serves_version(stable))
        told = self._servers.told()
        pointed = None if told is None else told.labels.get(STABLE)
        self._servers.tell(aspired.labelled() if in_two_moves and stale and pointed != stable else aspired)
        self._target.tidy()
        log.info("stable is %s, previous %s", stable or "none", previous or "none")
        return RestoreReport(stable, previous, aspired, lost), stale


def _shown(urls: Iterable[SecretUrl]) -> tuple[str, ...]:
    return tuple(map(str, urls))


def _promotion(
    previous_stable: int | None, restored: RestoreReport, decision: Decision, left_behind: tuple[str, ...] = ()
) -> PromotionReport:
    return PromotionReport(
        previous_stable, restored.stable, restored.previous, decision, left_behind, aspired=restored.aspired
    )
