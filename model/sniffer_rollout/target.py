"""Where a rollout goes: what a target can be asked and told, and which one the settings name."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sniffer.contracts import MODEL_NAME, SettingsError
from sniffer.settings import RolloutSettings, ServingSettings
from sniffer_rollout.aspired import Aspired

SURGE = "surge"
IN_PLACE = "in-place"


@dataclass(frozen=True, slots=True)
class Mode:
    """How a new version is first loaded: `surge`, in a server of its own, or `in-place`, beside the others; and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Replicas:
    """The model servers of a target now: base URLs `http://host:port`, how many there must be, and what keeps them."""

    urls: tuple[str, ...]
    wanted: int
    troubles: tuple[str, ...] = ()


class Target(Protocol):
    """Model servers that follow one `Aspired`. Methods raise TransientError when the target stays away."""

    description: str

    def mode(self) -> Mode:
        """How a new version is first loaded here."""

    def read_aspired(self) -> Aspired:
        """What the servers were last told; nothing before the first rollout."""

    def apply(self, aspired: Aspired) -> None:
        """Tell the servers; returns before they have followed. Idempotent.

        Raises ContractError when somebody else has changed what only a rollout writes.
        """

    def replicas(self) -> Replicas:
        """The servers that must serve, as they are now."""

    def canary(self, aspired: Aspired) -> AbstractContextManager[Target]:
        """A server of its own that is told this and that nobody else asks, for as long as the context lasts.

        Only where mode() says surge.
        """

    def tidy(self) -> None:
        """Remove what an interrupted rollout left beside the servers."""


def open_target(settings: RolloutSettings, *, force_conflicts: bool = False) -> Target:
    """The target that the settings name; raises SettingsError when they name none."""
    kind, _, place = settings.target.partition(":")
    if kind == "local" and place:
        from sniffer_rollout.local_target import LocalTarget

        return LocalTarget(Path(place), settings.model_base, settings.replicas)
    namespace, _, deployment = place.partition("/")
    if kind == "kubernetes" and namespace and deployment:
        # Imported here: its client takes a second.
        from sniffer_rollout.kubernetes_target import connect

        return connect(namespace, deployment, settings, force_conflicts=force_conflicts)
    raise SettingsError(
        f"the target must look like kubernetes:NAMESPACE/DEPLOYMENT or local:DIR, not {settings.target!r}: give "
        "--target or SNIFFER_ROLLOUT_TARGET"
    )


def serving_at(replica: str, patience_s: float = 0.0, read_timeout_s: float = 60.0) -> ServingSettings:
    """How to ask the model server with that base URL for our model."""
    return ServingSettings(f"{replica}/v1/models/{MODEL_NAME}", patience_s, read_timeout_s=read_timeout_s)
