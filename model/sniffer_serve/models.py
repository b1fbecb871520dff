"""The models that are served, and their versions: what request threads and the manager share, under one lock.

Request threads take leases, so that no version goes while it is in use; the manager alone changes anything.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from sniffer.core.errors import SettingsError
from sniffer_serve.config import ModelEntry
from sniffer_serve.errors import Code, StatusError, invalid_argument
from sniffer_serve.versions import RetryPolicy, State, VersionState


class Closable(Protocol):
    """What the manager needs to know of a loaded version."""

    def close(self) -> None:
        """Give the memory back."""


LoadedT = TypeVar("LoadedT", bound=Closable)


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """A line of the status URL."""

    version: int
    state: State
    code: Code = Code.OK
    message: str = ""


@dataclass(slots=True)
class ModelVersion(Generic[LoadedT]):
    """One version: its folder, how far it has come, and who uses it. `retry_at` is on the manager's clock."""

    folder: Path
    state: State = State.START
    loaded: LoadedT | None = None
    leases: int = 0
    failures: int = 0
    retry_at: float = 0.0
    code: Code = Code.OK
    message: str = ""


@dataclass(slots=True)
class ServedModel(Generic[LoadedT]):
    """One model: its entry in the config, the versions to be served, and every version ever seen."""

    entry: ModelEntry
    aspired: Mapping[int, Path] = field(default_factory=dict)
    versions: dict[int, ModelVersion[LoadedT]] = field(default_factory=dict)
    problem: str = ""
    """Why it cannot be told what to serve, if so."""

    def available(self) -> list[int]:
        """The versions that answer requests."""
        return [number for number, version in self.versions.items() if version.state == State.AVAILABLE]

    def is_served(self) -> bool:
        """Whether a version answers requests, and every aspired one has been tried."""
        tried = (number in self.versions for number in self.aspired)
        return bool(self.available()) and all(tried)

    def is_hopeless(self, retry: RetryPolicy) -> bool:
        """Whether every aspired version failed for good."""
        versions = [self.versions.get(number) for number in self.aspired]
        return bool(versions) and all(
            version is not None and retry.gave_up(VersionState(version.state, version.failures)) for version in versions
        )

    def reasons(self) -> str:
        """Why it is not served, for people."""
        return self.problem or "; ".join(version.message for version in self.versions.values())


class ServedModels(Generic[LoadedT]):
    """All models by name, with the labels of their versions.

    `changed` is the lock of everything in here; it is notified when a version that goes is no longer leased.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.by_name: dict[str, ServedModel[LoadedT]] = {}
        self._labels: dict[str, Mapping[str, int]] = {}

    @contextmanager
    def lease(self, name: str, number: int | None = None, label: str | None = None) -> Iterator[tuple[int, LoadedT]]:
        """Use a version: that number, that label's, or else the largest that is served; it stays loaded meanwhile.

        Raises StatusError: NOT_FOUND for a model or version that is not served, INVALID_ARGUMENT for an unknown label.
        """
        with self.changed:
            number, version, loaded = self._find(name, number, label)
            version.leases += 1
        try:
            yield number, loaded
        finally:
            with self.changed:
                version.leases -= 1
                if version.leases == 0 and version.state == State.UNLOADING:
                    self.changed.notify_all()

    def status(self, name: str, number: int | None = None) -> list[VersionStatus]:
        """Every version ever seen of a model, or one of them, newest first; raises StatusError (NOT_FOUND)."""
        with self.changed:
            model = self.by_name.get(name)
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

    def accept(self, entries: Sequence[ModelEntry], *, allow_unavailable: bool) -> None:
        """Take over a config as a whole, or raise SettingsError and change nothing.

        A label may name a version that is served; with `allow_unavailable` one that is new or stays may name another.
        """
        labels = {entry.name: self._checked_labels(entry, allow_unavailable) for entry in entries}
        with self.changed:
            self._labels = labels
            for name in self.by_name.keys() - labels.keys():
                self.by_name[name].aspired = {}
            for entry in entries:
                model = self.by_name.setdefault(entry.name, ServedModel(entry))
                model.entry = entry

    def retired(self) -> list[ModelVersion[LoadedT]]:
        """The versions that are to go and that nobody uses. Called with the lock held."""
        return [
            version
            for model in self.by_name.values()
            for version in model.versions.values()
            if version.state == State.UNLOADING and version.leases == 0
        ]

    def _find(self, name: str, number: int | None, label: str | None) -> tuple[int, ModelVersion[LoadedT], LoadedT]:
        if label is not None:
            number = self._labels.get(name, {}).get(label)
            if number is None:
                raise invalid_argument(f"Unrecognized servable version label: {label}")
        model = self.by_name.get(name)
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

    def _checked_labels(self, entry: ModelEntry, allow_unavailable: bool) -> Mapping[str, int]:
        model = self.by_name.get(entry.name)
        available = model.available() if model else []
        in_use = self._labels.get(entry.name, {})
        for label, number in entry.labels.items():
            unavailable_allowed = allow_unavailable and in_use.get(label, number) == number
            if number not in available and not unavailable_allowed:
                raise SettingsError(
                    f"Request to assign label {label!r} to version {number} of model {entry.name}, which is not "
                    "currently available for inference; load it first, or for labels at the start give "
                    "--allow_version_labels_for_unavailable_models=true"
                )
        return dict(entry.labels)
