"""Watches base paths and the config file, and loads versions before it unloads others: all on one thread.

In: the config, and the folders under each base path. Out: `models`, which request threads lease versions from.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic

from sniffer.core.errors import ContractError, SettingsError
from sniffer_serve.config import ModelEntry
from sniffer_serve.errors import Code, StatusError
from sniffer_serve.models import LoadedT, ModelVersion, ServedModel, ServedModels
from sniffer_serve.versions import (
    Plan,
    RetryPolicy,
    State,
    VersionState,
    aspired_versions,
    found_versions,
    plan_changes,
)

log = logging.getLogger(__name__)

NEVER_S = float("inf")


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """The rhythm of watching, in seconds; an interval of 0 looks once, at the start."""

    file_system_poll_s: float = 1.0
    config_poll_s: float = 0.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    allow_labels_for_unavailable: bool = False


class ModelManager(Generic[LoadedT]):
    """Keeps the aspired versions of every model loaded; `load` turns a version's folder into something to lease.

    `load` raises StatusError for a folder that cannot be served. `read_config`, if given, is asked again every
    `config_poll_s` for the models to serve and raises SettingsError when it cannot tell; then all stays as it is.
    """

    def __init__(
        self,
        entries: Sequence[ModelEntry],
        load: Callable[[Path], LoadedT],
        settings: WatchSettings,
        *,
        read_config: Callable[[], Sequence[ModelEntry]] | None = None,
        after_change: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._settings = settings
        self._read_config = read_config
        self._after_change = after_change
        self._clock = clock
        self.models: ServedModels[LoadedT] = ServedModels()
        self._changed = self.models.changed
        self._entries = list(entries)
        self._config_problem = ""
        self._stopping = False
        self._ready = False
        self._refusal: ContractError | None = None
        self._thread = threading.Thread(target=self._run, name="model-manager", daemon=True)

    def start(self) -> None:
        """Begin to watch and load; raises SettingsError when the first config cannot be accepted."""
        self._accept(self._entries)
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Stop watching; returns whether the thread ended in time. A load that is running cannot be interrupted."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        """Whether the watching goes on."""
        return self._thread.is_alive()

    def wait_until_ready(self, timeout_s: float) -> bool:
        """Whether every model has a version that is served, and every aspired version has been tried.

        Raises ContractError when a model's versions all failed for good, and there is nothing to wait for.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._refusal is not None, timeout_s)
            if self._refusal is not None:
                raise self._refusal
            return self._ready

    def _run(self) -> None:
        config_at, files_at = self._clock() + (self._settings.config_poll_s or NEVER_S), 0.0
        while not self._stopping:
            if self._clock() >= config_at:
                if self._reload_config():
                    files_at = 0.0
                config_at = self._clock() + self._settings.config_poll_s
            if self._clock() >= files_at:
                self._look_for_versions()
                files_at = self._clock() + (self._settings.file_system_poll_s or NEVER_S)
            retry_at = self._make_changes()
            self._judge_readiness(final=self._settings.file_system_poll_s == 0)
            self._sleep_until(min(config_at, files_at, retry_at))

    def _sleep_until(self, when: float) -> None:
        with self._changed:
            wait_s = max(when - self._clock(), 0)
            self._changed.wait_for(
                lambda: self._stopping or bool(self.models.retired()), None if wait_s == NEVER_S else wait_s
            )

    def _reload_config(self) -> bool:
        if self._read_config is None:
            return False
        try:
            entries = list(self._read_config())
            changed = entries != self._entries
            if changed:
                self._accept(entries)
                log.info("took over the new config: models %s", [entry.name for entry in entries])
            problem = ""
        except SettingsError as error:
            changed, problem = False, str(error)
        if problem and problem != self._config_problem:
            log.error("the new config is not taken over, the old one stays: %s", problem)
        self._config_problem = problem
        return changed

    def _accept(self, entries: Sequence[ModelEntry]) -> None:
        self.models.accept(entries, allow_unavailable=self._settings.allow_labels_for_unavailable)
        self._entries = list(entries)

    def _look_for_versions(self) -> None:
        for entry in self._entries:
            model = self.models.by_name[entry.name]
            try:
                aspired = aspired_versions(entry.policy, found_versions(entry.base_path))
                problem = "" if aspired else f"no version to serve under {entry.base_path}"
            except OSError as error:
                # A path that is away for the moment unloads nothing.
                aspired, problem = dict(model.aspired), f"cannot look for versions: {error}"
            if problem and problem != model.problem:
                log.warning("model %s: %s", entry.name, problem)
            with self._changed:
                model.aspired, model.problem = aspired, problem

    def _make_changes(self) -> float:
        """Load and unload until nothing is due; when a failed load is due again."""
        retry_at = NEVER_S
        for name in list(self.models.by_name):
            model = self.models.by_name[name]
            plan = self._plan(model)
            for number in plan.load:
                if self._stopping:
                    return NEVER_S
                self._load_version(model, number)
            if plan.load:
                plan = self._plan(model)
            for number in plan.unload:
                self._retire(model, number)
            retry_at = min(retry_at, plan.next_retry_at or NEVER_S)
        self._close_retired()
        return retry_at

    def _plan(self, model: ServedModel[LoadedT]) -> Plan:
        with self._changed:
            for number, version in model.versions.items():
                if number not in model.aspired and version.state == State.END:
                    # Should it come back, it starts over.
                    version.failures, version.retry_at = 0, 0.0
            states = {
                number: VersionState(version.state, version.failures, version.retry_at)
                for number, version in model.versions.items()
            }
        return plan_changes(model.aspired, states, self._settings.retry, self._clock())

    def _load_version(self, model: ServedModel[LoadedT], number: int) -> None:
        folder, name = model.aspired[number], model.entry.name
        with self._changed:
            version = model.versions.setdefault(number, ModelVersion(folder))
            version.folder, version.state, version.code, version.message = folder, State.LOADING, Code.OK, ""
        log.info("model %s: loading version %d from %s", name, number, folder)
        started_at = self._clock()
        try:
            loaded = self._load(folder)
        except StatusError as error:
            self._note_failure(model, number, error)
            return
        with self._changed:
            version.loaded, version.state, version.failures = loaded, State.AVAILABLE, 0
        log.info("model %s: serving version %d after %.1f s", name, number, self._clock() - started_at)
        self._after_change()

    def _note_failure(self, model: ServedModel[LoadedT], number: int, error: StatusError) -> None:
        retry = self._settings.retry
        with self._changed:
            version = model.versions[number]
            version.state, version.code, version.message = State.END, error.code, error.message
            version.failures += 1
            version.retry_at = self._clock() + retry.interval_s
            tries_left = retry.max_retries + 1 - version.failures
        outlook = f"trying again in {retry.interval_s:g} s" if tries_left > 0 else "not trying again"
        log.error("model %s: version %d failed, %s: %s", model.entry.name, number, outlook, error)

    def _retire(self, model: ServedModel[LoadedT], number: int) -> None:
        log.info("model %s: unloading version %d", model.entry.name, number)
        with self._changed:
            model.versions[number].state = State.UNLOADING

    def _close_retired(self) -> None:
        with self._changed:
            retired = self.models.retired()
        for version in retired:
            if version.loaded is not None:
                version.loaded.close()
            with self._changed:
                version.loaded, version.state = None, State.END
        if retired:
            self._after_change()

    def _judge_readiness(self, *, final: bool) -> None:
        """Note when all models are served; before that, note a model that never will be."""
        if self._ready:
            return
        with self._changed:
            models = [self.models.by_name[entry.name] for entry in self._entries]
            self._ready = all(model.is_served() for model in models)
            for model in models if not self._ready else ():
                if model.is_hopeless(self._settings.retry) or (final and not model.aspired):
                    self._refusal = ContractError(f"model {model.entry.name} cannot be served: {model.reasons()}")
            self._changed.notify_all()
