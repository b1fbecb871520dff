"""Where a rollout goes: what every kind of target can be asked and told."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from sniffer_rollout.aspired import Aspired

SURGE = "surge"
IN_PLACE = "in-place"


@dataclass(frozen=True, slots=True)
class Mode:
    """How a new version is loaded first: `surge`, in a server of its own, or `in-place`, beside the others; and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Replicas:
    """The running model servers of a target: base URLs `http://host:port`, how many there must be, and problems of

    those that do not run.
    """

    urls: tuple[str, ...]
    wanted: int
    problems: tuple[str, ...] = ()


class Target(Protocol):
    """Model servers that serve what one `Aspired` says. Methods raise TransientError while they cannot reach it."""

    description: str

    def mode(self) -> Mode:
        """How a new version is loaded first here."""

    def read_aspired(self) -> Aspired:
        """What the servers were last told; nothing before the first rollout."""

    def apply(self, aspired: Aspired) -> None:
        """Tell the servers; returns before they serve it. Idempotent.

        Raises ContractError when somebody else has changed what only a rollout writes.
        """

    def replicas(self) -> Replicas:
        """The servers that run now."""

    def denied_rights(self) -> list[str]:
        """What a rollout does here and we may not, in words."""

    def canary(self, aspired: Aspired) -> AbstractContextManager[Target]:
        """A server of its own that is told this, and gets no other requests, until the context ends.

        Only where mode() says surge.
        """

    def tidy(self) -> None:
        """Remove what an interrupted rollout left beside the servers."""
