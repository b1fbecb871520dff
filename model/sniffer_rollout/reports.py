"""What each step of a rollout returns; the program writes it as JSON. Those that other programs read are in core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sniffer.core.rollout_records import GoldenDifferences, Promotion, VerifyReport
from sniffer_rollout.aspired import Aspired
from sniffer_rollout.targets.target import Mode


@dataclass(frozen=True, slots=True)
class PreflightReport:
    """The version that may be rolled out, and the state of the target before it: `servers` are those that answer."""

    version: int
    digest: str
    stable: int | None
    mode: Mode
    servers: tuple[str, ...]
    problems: tuple[str, ...]
    aspired: Aspired


@dataclass(frozen=True, slots=True)
class CanaryReport:
    """How long it took to load the version in a server of its own, and its golden differences there."""

    seconds: float
    golden: Mapping[str, GoldenDifferences]


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The servers that answer for the version, and after how long; `surge` is None if there was no canary.

    `unplaced` are those that no machine has room for: of them nothing is known.
    """

    version: int
    servers: tuple[str, ...]
    seconds: float
    surge: CanaryReport | None
    unplaced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What the database says is in production, and what the servers were told by it.

    That is without what is `lost`: versions that cannot be had any more, and why.
    """

    stable: int | None
    previous: int | None
    aspired: Aspired
    lost: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PromotionReport(Promotion):
    """The outcome of `promote` or `rollback`; `left_behind` are servers that did not follow a rollback in time."""

    aspired: Aspired = field(kw_only=True)
    left_behind: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunReport:
    """The reports of all steps of `run`."""

    version: int
    preflight: PreflightReport
    load: LoadReport
    verify: VerifyReport
    promote: PromotionReport


StepReport = PreflightReport | LoadReport | VerifyReport | PromotionReport | RestoreReport | RunReport
