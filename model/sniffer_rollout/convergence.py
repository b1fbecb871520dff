"""Tells the model servers of a target what to serve, and waits until every one of them does."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sniffer.adapters.serving import ModelServer, ServedVersion
from sniffer.core.errors import ContractError, TransientError
from sniffer.core.redaction import SecretUrl
from sniffer.core.settings import RolloutSettings
from sniffer_rollout.aspired import CANARY, STABLE, Aspired, UnreadableState
from sniffer_rollout.health import Health
from sniffer_rollout.targets.open import serving_at
from sniffer_rollout.targets.target import Replicas, Target

log = logging.getLogger(__name__)

_READ_TIMEOUT_S = 10.0


class NoNode(TransientError):
    """No machine has room for any of the servers."""


class LoadFailed(ContractError):
    """A server has given up loading a version: waiting longer does not help."""


@dataclass(frozen=True, slots=True)
class NotReady:
    """Why one server is not ready, for a person; `failed` when waiting longer does not help."""

    reason: str
    failed: bool = False


Question = Callable[[ModelServer], NotReady | None]
"""Asks one server whether it is ready; None when it is."""


def serves_version(version: int) -> Question:
    """Whether the server answers for the version."""

    def ask(server: ModelServer) -> NotReady | None:
        state = next((state for state in server.version_states() if state.version == version), None)
        if state is None:
            return NotReady("has not started to load it")
        return None if state.is_available else NotReady(_described(state), state.has_failed)

    return ask


def has_label(label: str, version: int | None) -> Question:
    """Whether the label points to the version on that server, or to none."""

    def ask(server: ModelServer) -> NotReady | None:
        found = server.labelled_version(label)
        return None if found == version else NotReady(f"has the label {label!r} on {found or 'no version'}")

    return ask


def answers(server: ModelServer) -> NotReady | None:
    """Whether the server answers at all."""
    server.version_states()
    return None


def not_ready(urls: Iterable[SecretUrl], ask: Question) -> dict[SecretUrl, NotReady]:
    """The servers that are not ready, by base URL, and why."""
    found: dict[SecretUrl, NotReady] = {}
    for url in urls:
        with ModelServer(serving_at(url, read_timeout_s=_READ_TIMEOUT_S)) as server:
            try:
                problem = ask(server)
            except TransientError as error:
                problem = NotReady(str(error))
        if problem is not None:
            found[url] = problem
    return found


class Convergence:
    """The servers of one target. `pause(seconds)` waits, and may raise to end a wait early."""

    def __init__(self, target: Target, settings: RolloutSettings, pause: Callable[[float], None]) -> None:
        self._target = target
        self._settings = settings
        self._pause = pause
        self._last_told: Aspired | None = None

    def of(self, target: Target) -> Convergence:
        """The same for another target."""
        return Convergence(target, self._settings, self._pause)

    def told(self) -> Aspired | None:
        """What the servers were last told; None when that is not to be read, and is to be replaced."""
        try:
            return self._target.read_aspired()
        except UnreadableState as error:
            log.warning("%s", error)
            return None

    def serving(self, version: int) -> set[SecretUrl]:
        """The servers that answer for the version now, by base URL."""
        urls = self._target.replicas().urls
        return set(urls) - set(not_ready(urls, serves_version(version)))

    def tell(self, aspired: Aspired) -> None:
        """Tell the servers what to serve; returns before they do."""
        before = self.told()
        self._target.apply(aspired)
        self._last_told = aspired
        if before != aspired:
            log.info("%s is told to serve %s", self._target.description, aspired.json())

    def _keep_told(self, what: str) -> None:
        """See to it that the servers are still told what they are waited for.

        What somebody has deleted is written again. Raises TransientError when they are told something else.
        """
        if self._last_told is None or (found := self.told()) == self._last_told:
            return
        if found == Aspired():
            log.warning("%s: what %s was told is gone; telling it again", what, self._target.description)
            self._target.apply(self._last_told)
            return
        raise TransientError(
            f"{what}: {self._target.description} is told something else meanwhile, by another rollout or by hand "
            f"({'unreadable' if found is None else found.json()}): let the other one end, then run this step again"
        )

    def wait_for_version(
        self, version: int, what: str, limit_s: float, stale: Mapping[SecretUrl, NotReady] | None = None
    ) -> tuple[SecretUrl, ...]:
        """Wait until every server answers for the version, as `wait_for` does."""
        return self.wait_for(serves_version(version), f"{what} version {version}", limit_s, stale)

    def wait_for_labels(self, stable: int | None, canary: int | None, limit_s: float) -> None:
        """Wait until the labels STABLE and CANARY point to these versions, or to none, as `wait_for` does."""
        for label, version in ((STABLE, stable), (CANARY, canary)):
            self.wait_for(has_label(label, version), f"moving the label {label}", limit_s)

    def wait_for(
        self,
        ask: Question,
        what: str,
        limit_s: float,
        stale: Mapping[SecretUrl, NotReady] | None = None,
        *,
        node_limit_s: float = math.inf,
        crash_limit: float = math.inf,
    ) -> tuple[SecretUrl, ...]:
        """Wait until all servers are ready, and there are as many as there must be; returns their base URLs.

        Servers that no machine has room for are not waited for, and named in a warning. Raises LoadFailed as soon as
        one server has failed for good, or has crashed `crash_limit` times. A failure in `stale`, seen before the
        servers were told, counts only after the settings' `stale_s`. Raises TransientError after `limit_s`, once the
        target has had problems of its own for `problem_s`, or when somebody else tells the servers something; NoNode
        when no server has had a machine for `node_limit_s`.
        """
        started_at = placed_at = time.monotonic()
        health = Health(self._settings.problem_s)
        last_logged = ""
        while True:
            replicas, now = self._target.replicas(), time.monotonic()
            waiting = not_ready(replicas.urls, ask)
            if not waiting and len(replicas.urls) >= replicas.expected:
                _warn_of_unplaced(replicas, what)
                return replicas.urls
            _raise_failure(waiting, what, (stale or {}) if now - started_at < self._settings.stale_s else {})
            ill_s, reasons = health.look(replicas, now), _reasons(replicas, waiting)
            placed_at = now if replicas.urls or not replicas.unplaced else placed_at
            if health.crashes >= crash_limit:
                raise LoadFailed(f"{what}: the server has crashed {health.crashes} times: {reasons}")
            if now - placed_at >= node_limit_s:
                raise NoNode(f"{what}: {reasons}")
            if now - started_at >= limit_s:
                raise TransientError(f"{what}: not within {limit_s:g} s: {reasons}")
            if ill_s >= self._settings.problem_s and ill_s > 0:
                raise TransientError(f"{what}: the servers have had problems for {ill_s:.0f} s: {reasons}")
            self._keep_told(what)
            if reasons != last_logged:
                log.info("%s: waiting: %s", what, reasons)
                last_logged = reasons
            self._pause(self._settings.poll_s)


def _warn_of_unplaced(replicas: Replicas, what: str) -> None:
    if replicas.unplaced:
        serving = len(replicas.urls)
        log.warning(
            "%s: holds for the %d of %d servers that run; it is not known of the others: %s",
            what,
            serving,
            max(replicas.wanted, serving),
            "; ".join(replicas.unplaced),
        )


def _reasons(replicas: Replicas, waiting: Mapping[SecretUrl, NotReady]) -> str:
    running, wanted = len(replicas.urls), max(1, replicas.wanted)
    missing = [f"{running} of {wanted} servers run"] if running < wanted else []
    servers = [f"{url} {found.reason}" for url, found in waiting.items()]
    others = [*replicas.problems, *replicas.recovering, *replicas.starting, *dict.fromkeys(replicas.unplaced)]
    return "; ".join([*servers, *missing, *others])


def _raise_failure(waiting: Mapping[SecretUrl, NotReady], what: str, stale: Mapping[SecretUrl, NotReady]) -> None:
    for url, found in waiting.items():
        if found.failed and stale.get(url) != found:
            raise LoadFailed(f"{what}: {url} {found.reason}")


def _described(state: ServedVersion) -> str:
    return f"is at {state.state} with it" + (f": {state.error}" if state.error else "")
