"""Who must agree to a rollout: pure rules on names by which Airflow authenticated people.

Four eyes: who asked for a version to become stable, or overrode the gate for it, is not who approves it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from sniffer.core import variables as var
from sniffer_airflow.four_eyes import asks_for_four_eyes, is_same_person


@dataclass(frozen=True)
class ApprovalPolicy:
    """What SNIFFER_FOUR_EYES and SNIFFER_APPROVE_AUTOMATIC say."""

    four_eyes: bool
    approve_automatic: bool

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> ApprovalPolicy:
        """From the environment of Airflow's process. SettingsError for nonsense."""
        return cls(asks_for_four_eyes(environ), var.APPROVE_AUTOMATIC.read(environ))


@dataclass(frozen=True)
class Proposal:
    """A version that is to become stable. `asked_by` are the users who want it; of a schedule, or unknown, nobody.

    `overridden_by` let it pass although the gate rejected it.
    """

    version: int
    asked_by: tuple[str, ...]
    overridden_by: str | None
    is_automatic: bool
    approval_is_wanted: bool

    @property
    def requester(self) -> str | None:
        """Who asked, as it is recorded."""
        return ", ".join(self.asked_by) or None

    def involved(self) -> tuple[str, ...]:
        """Everybody who cannot approve it when four eyes must see it."""
        return (*self.asked_by, *([self.overridden_by] if self.overridden_by else []))


def needs_approval(proposal: Proposal, policy: ApprovalPolicy) -> bool:
    """Whether a person must approve it."""
    if proposal.approval_is_wanted or (proposal.is_automatic and policy.approve_automatic):
        return True
    return policy.four_eyes and bool(proposal.involved())


def objection(proposal: Proposal, policy: ApprovalPolicy, approver: str | None) -> str | None:
    """Why that user's approval does not count; None when it does."""
    if not approver:
        return "nobody is known to have approved it"
    if not policy.four_eyes:
        return None
    if any(is_same_person(approver, name) for name in proposal.asked_by):
        return f"{approver} asked for this rollout, so somebody else must approve it"
    if proposal.overridden_by and is_same_person(approver, proposal.overridden_by):
        return f"{approver} overrode the gate for this version, so somebody else must approve it"
    return None
