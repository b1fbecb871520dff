"""Waiting until every model server has followed: a version is AVAILABLE, a label stands for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sniffer.adapters.serving import ModelServer, ServedVersion
from sniffer.core.errors import ContractError, TransientError
from sniffer.core.settings import RolloutSettings
from sniffer_rollout.targets.open import serving_at
from sniffer_rollout.targets.target import Target

log = logging.getLogger(__name__)

_READ_TIMEOUT_S = 10.0


class LoadFailed(ContractError):
    """A server has given up on a version; it will not come by itself."""


@dataclass(frozen=True, slots=True)
class Lag:
    """What one server still lacks, for a person; `failure` is set when it will never come by itself."""

    reason: str
    failure: bool = False


def version_lag(version: int) -> Callable[[ModelServer], Lag | None]:
    """Asks a server whether the version answers; None when it does."""

    def ask(server: ModelServer) -> Lag | None:
        state = next((state for state in server.version_states() if state.version == version), None)
        if state is None:
            return Lag("has not begun to load it")
        return None if state.is_available else Lag(_described(state), state.has_failed)

    return ask


def label_lag(label: str, version: int | None) -> Callable[[ModelServer], Lag | None]:
    """Asks a server whether the label stands for the version, or for none; None when it does."""

    def ask(server: ModelServer) -> Lag | None:
        found = server.labelled_version(label)
        return None if found == version else Lag(f"has the label {label!r} on {found or 'no version'}")

    return ask


def lags(urls: Iterable[str], ask: Callable[[ModelServer], Lag | None]) -> dict[str, Lag]:
    """What each server still lacks, by its base URL; those that lack nothing are left out."""
    found: dict[str, Lag] = {}
    for url in urls:
        with ModelServer(serving_at(url, read_timeout_s=_READ_TIMEOUT_S)) as server:
            try:
                lag = ask(server)
            except TransientError as error:
                lag = Lag(str(error))
        if lag is not None:
            found[url] = lag
    return found


def wait_for_all(
    target: Target,
    ask: Callable[[ModelServer], Lag | None],
    what: str,
    limit_s: float,
    settings: RolloutSettings,
    pause: Callable[[float], None],
    stale: Mapping[str, Lag] | None = None,
) -> tuple[str, ...]:
    """Return the base URLs once no server lacks anything, and there are as many as there must be.

    Raises LoadFailed as soon as one failed for good, with its message. A failure that is in `stale`, as it was seen
    before the servers were told, counts only after `stale_s`. Raises TransientError at the limit, or when the target's
    own troubles have stood for `trouble_s`, with everything that is known. `pause(seconds)` may raise to end the wait.
    """
    begun_s = time.monotonic()
    fine_s, said = begun_s, ""
    while True:
        replicas, now_s = target.replicas(), time.monotonic()
        lacking, wanted = lags(replicas.urls, ask), max(1, replicas.wanted)
        if not lacking and len(replicas.urls) >= wanted:
            return replicas.urls
        _raise_failure(lacking, what, (stale or {}) if now_s - begun_s < settings.stale_s else {})
        fine_s = fine_s if replicas.troubles else now_s
        missing = [f"{len(replicas.urls)} of {wanted} servers run"] if len(replicas.urls) < wanted else []
        reasons = "; ".join([*(f"{url} {lag.reason}" for url, lag in lacking.items()), *missing, *replicas.troubles])
        if now_s - begun_s >= limit_s:
            raise TransientError(f"{what}: not within {limit_s:g} s: {reasons}")
        if now_s - fine_s >= settings.trouble_s:
            raise TransientError(f"{what}: the servers are in trouble for {settings.trouble_s:g} s: {reasons}")
        if reasons != said:
            log.info("%s: waiting: %s", what, reasons)
            said = reasons
        pause(settings.poll_s)


def _raise_failure(lacking: Mapping[str, Lag], what: str, stale: Mapping[str, Lag]) -> None:
    for url, lag in lacking.items():
        if lag.failure and stale.get(url) != lag:
            raise LoadFailed(f"{what}: {url} {lag.reason}")


def _described(state: ServedVersion) -> str:
    return f"is at {state.state} with it" + (f": {state.error}" if state.error else "")
