"""Where a rollout goes: what a target can be asked and told, and which one the settings name."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

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
