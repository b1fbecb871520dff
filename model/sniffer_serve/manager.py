"""The models that are served: base paths and the config file are watched, versions loaded before others are dropped.

One thread does all loading and unloading. Request threads only take leases, so no version goes while it is in use.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from sniffer.core.errors import ContractError, SettingsError
from sniffer_serve.config import ModelEntry
from sniffer_serve.errors import Code, StatusError, invalid_argument
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


class Closable(Protocol):
    """What the manager needs to know of a loaded version."""

    def close(self) -> None:
        """Give the memory back."""


LoadedT = TypeVar("LoadedT", bound=Closable)


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """The rhythm of watching, in seconds; an interval of 0 looks once, at the start."""

    file_system_poll_s: float = 1.0
    config_poll_s: float = 0.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    allow_labels_for_unavailable: bool = False


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """A line of the status URL."""

    version: int
    state: State
    code: Code = Code.OK
    message: str = ""


@dataclass(slots=True)
class _Version(Generic[LoadedT]):
    folder: Path
    state: State = State.START
    loaded: LoadedT | None = None
    leases: int = 0
    failures: int = 0
    retry_at: float = 0.0
    code: Code = Code.OK
    message: str = ""


@dataclass(slots=True)
class _Model(Generic[LoadedT]):
    entry: ModelEntry
    aspired: Mapping[int, Path] = field(default_factory=dict)
    versions: dict[int, _Version[LoadedT]] = field(default_factory=dict)
    trouble: str = ""

    def available(self) -> list[int]:
        return [number for number, version in self.versions.items() if version.state == State.AVAILABLE]


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
        self._changed = threading.Condition()
        self._models: dict[str, _Model[LoadedT]] = {}
        self._labels: dict[str, Mapping[str, int]] = {}
        self._entries = list(entries)
        self._config_trouble = ""
        self._stopping = False
        self._ready = False
        self._refusal: ContractError | None = None
        self._thread = threading.Thread(target=self._run, name="model-manager", daemon=True)

    def start(self) -> None:
        """Begin to watch and load; raises SettingsError when the first config cannot be accepted."""
        self._accept(self._entries)
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """End the watching; whether the thread ended within the time, which a load in its midst can prevent."""
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

    @contextmanager
    def lease(self, name: str, number: int | None = None, label: str | None = None) -> Iterator[tuple[int, LoadedT]]:
        """Use a version: that number, that label's, or else the largest that is served; it stays loaded meanwhile.

        Raises StatusError: NOT_FOUND for a model or version that is not served, INVALID_ARGUMENT for an unknown label.
        """
        with self._changed:
            number, version, loaded = self._find(name, number, label)
            version.leases += 1
        try:
            yield number, loaded
        finally:
            with self._changed:
                version.leases -= 1
                if version.leases == 0 and version.state == State.UNLOADING:
                    self._changed.notify_all()

    def status(self, name: str, number: int | None = None) -> list[VersionStatus]:
        """Every version ever seen of a model, or one of them, newest first; raises StatusError (NOT_FOUND)."""
        with self._changed:
            model = self._models.get(name)
            versions = dict(model.versions) if model else {}
            if not versions and number is None:
                raise StatusError(Code.NOT_FOUND, f"Could not find any versions of model {name}")
            if number is not None and number not in versions:
                raise StatusError(Code.NOT_FOUND, f"Could not find version {number} of model {name}")
            return [
                VersionStatus(key, version.state, version.code, version.message)
                for key, version in sorted(versions.items(), reverse=True)
                if number in (None, key)
            ]

    def _find(self, name: str, number: int | None, label: str | None) -> tuple[int, _Version[LoadedT], LoadedT]:
        if label is not None:
            number = self._labels.get(name, {}).get(label)
            if number is None:
                raise invalid_argument(f"Unrecognized servable version label: {label}")
        model = self._models.get(name)
        available = model.available() if model else []
        wanted = f"Latest({name})" if number is None else f"Specific({name}, {number})"
        if number is None:
            number = max(available, default=None)
        if model is None or number is None or number not in available:
            raise StatusError(Code.NOT_FOUND, f"Servable not found for request: {wanted}")
        version = model.versions[number]
        if version.loaded is None:
            raise StatusError(Code.INTERNAL, f"version {number} of model {name} is available but not loaded")
        return number, version, version.loaded

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
                lambda: self._stopping or bool(self._retired()), None if wait_s == NEVER_S else wait_s
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
            trouble = ""
        except SettingsError as error:
            changed, trouble = False, str(error)
        if trouble and trouble != self._config_trouble:
            log.error("the new config is not taken over, the old one stays: %s", trouble)
        self._config_trouble = trouble
        return changed

    def _accept(self, entries: Sequence[ModelEntry]) -> None:
        """Take over a config as a whole, or raise SettingsError and change nothing."""
        labels = {entry.name: self._checked_labels(entry) for entry in entries}
        with self._changed:
            self._entries = list(entries)
            self._labels = labels
            for name in self._models.keys() - labels.keys():
                self._models[name].aspired = {}
            for entry in entries:
                model = self._models.setdefault(entry.name, _Model(entry))
                model.entry = entry

    def _checked_labels(self, entry: ModelEntry) -> Mapping[str, int]:
        """A label may name a version that is served; one that is new or stays may be allowed to name another."""
        model = self._models.get(entry.name)
        available = model.available() if model else []
        in_use = self._labels.get(entry.name, {})
        for label, number in entry.labels.items():
            unavailable_allowed = self._settings.allow_labels_for_unavailable and in_use.get(label, number) == number
            if number not in available and not unavailable_allowed:
                raise SettingsError(
                    f"Request to assign label {label!r} to version {number} of model {entry.name}, which is not "
                    "currently available for inference; load it first, or for labels at the start give "
                    "--allow_version_labels_for_unavailable_models=true"
                )
        return dict(entry.labels)

    def _look_for_versions(self) -> None:
        for entry in self._entries:
            model = self._models[entry.name]
            try:
                aspired = aspired_versions(entry.policy, found_versions(entry.base_path))
                trouble = "" if aspired else f"no version to serve under {entry.base_path}"
            except OSError as error:
                # A path that is away for the moment unloads nothing.
                aspired, trouble = dict(model.aspired), f"cannot look for versions: {error}"
            if trouble and trouble != model.trouble:
                log.warning("model %s: %s", entry.name, trouble)
            with self._changed:
                model.aspired, model.trouble = aspired, trouble

    def _make_changes(self) -> float:
        """Load and unload until nothing is due; when a failed load is due again."""
        retry_at = NEVER_S
        for name in list(self._models):
            model = self._models[name]
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

    def _plan(self, model: _Model[LoadedT]) -> Plan:
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

    def _load_version(self, model: _Model[LoadedT], number: int) -> None:
        folder, name = model.aspired[number], model.entry.name
        with self._changed:
            version = model.versions.setdefault(number, _Version(folder))
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

    def _note_failure(self, model: _Model[LoadedT], number: int, error: StatusError) -> None:
        retry = self._settings.retry
        with self._changed:
            version = model.versions[number]
            version.state, version.code, version.message = State.END, error.code, error.message
            version.failures += 1
            version.retry_at = self._clock() + retry.interval_s
            tries_left = retry.max_retries + 1 - version.failures
        outlook = f"trying again in {retry.interval_s:g} s" if tries_left > 0 else "not trying again"
        log.error("model %s: version %d failed, %s: %s", model.entry.name, number, outlook, error)

    def _retire(self, model: _Model[LoadedT], number: int) -> None:
        log.info("model %s: unloading version %d", model.entry.name, number)
        with self._changed:
            model.versions[number].state = State.UNLOADING

    def _retired(self) -> list[_Version[LoadedT]]:
        return [
            version
            for model in self._models.values()
            for version in model.versions.values()
            if version.state == State.UNLOADING and version.leases == 0
        ]

    def _close_retired(self) -> None:
        with self._changed:
            retired = self._retired()
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
            models = [self._models[entry.name] for entry in self._entries]
            self._ready = all(self._is_served(model) for model in models)
            for model in models if not self._ready else ():
                if self._is_hopeless(model) or (final and not model.aspired):
                    reasons = model.trouble or "; ".join(version.message for version in model.versions.values())
                    self._refusal = ContractError(f"model {model.entry.name} cannot be served: {reasons}")
            self._changed.notify_all()

    def _is_served(self, model: _Model[LoadedT]) -> bool:
        tried = (number in model.versions for number in model.aspired)
        return bool(model.available()) and all(tried)

    def _is_hopeless(self, model: _Model[LoadedT]) -> bool:
        versions = [model.versions.get(number) for number in model.aspired]
        retry = self._settings.retry
        return bool(versions) and all(
            version is not None and retry.gave_up(VersionState(version.state, version.failures)) for version in versions
        )
