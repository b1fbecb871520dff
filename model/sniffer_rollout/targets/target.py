"""Where a rollout goes: what every kind of target can be asked and told."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from sniffer.core.redaction import SecretUrl
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
    """The running model servers of a target: base URLs `http://host:port`, and how many there must be.

    Of those that do not run: `problems` keep one from serving, `unplaced` ones no machine has room for, or are on one
    that does not answer, `recovering` ones were started again after a failure and are not ready yet, `starting` ones
    wait for what they need to start. `restarts` counts starts after the first, by server.
    """

    urls: tuple[SecretUrl, ...]
    wanted: int
    problems: tuple[str, ...] = ()
    unplaced: tuple[str, ...] = ()
    recovering: tuple[str, ...] = ()
    restarts: Mapping[str, int] = field(default_factory=dict)
    starting: tuple[str, ...] = ()

    @property
    def expected(self) -> int:
        """How many must serve: those that no machine has room for serve nobody, so nobody waits for them."""
        return max(1, self.wanted - len(self.unplaced))


class Target(Protocol):
    """Model servers that serve what one `Aspired` says. Methods raise TransientError while they cannot reach it."""

    description: str

    def mode(self) -> Mode:
        """How a new version is loaded first here."""

    def read_aspired(self) -> Aspired:
        """What the servers were last told; nothing before the first rollout. Raises UnreadableState."""

    def unservable(self, aspired: Aspired) -> Mapping[int, str]:
        """Versions of it that the servers could not load from where they look, and why; as far as we see that."""

    def apply(self, aspired: Aspired) -> None:
        """Tell the servers; returns before they serve it. Idempotent.

        Raises ContractError when somebody else has changed what only a rollout writes, or for an unservable version.
        """

    def replicas(self) -> Replicas:
        """The servers that run now."""

    def denied_rights(self) -> list[str]:
        """What a rollout does here and we may not, in words."""

    def canary(self) -> AbstractContextManager[Target]:
        """A server of its own that serves nothing yet, and gets no requests but ours, until the context ends.

        Only where mode() says surge.
        """

    def tidy(self) -> None:
        """Remove what an interrupted rollout left beside the servers."""
