"""What was found out about a system, as a line for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sniffer.core.text import printable


class FindingState(StrEnum):
    """Whether a system is what the settings promise."""

    OK = "ok"
    WRONG = "wrong"
    NOT_CONFIGURED = "not configured"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about one system. The text says what was found and, if it is wrong, what to do about it."""

    system: str
    state: FindingState
    text: str


def ok(system: str, text: str) -> Finding:
    """It is what the settings promise."""
    return Finding(system, FindingState.OK, text)


def wrong(system: str, text: str) -> Finding:
    """It is not what the settings promise."""
    return Finding(system, FindingState.WRONG, text)


def not_configured(system: str, text: str) -> Finding:
    """The settings promise nothing; the text says how to configure it."""
    return Finding(system, FindingState.NOT_CONFIGURED, text)


def describe(findings: Sequence[Finding]) -> str:
    """A line each, and one that sums up."""
    lines = [f"{found.state:<14}  {found.system:<12}  {printable(found.text)}" for found in findings]
    return "\n".join([*lines, summary(findings)])


def summary(findings: Sequence[Finding]) -> str:
    """All findings in one line."""
    wrongs = sum(found.state is FindingState.WRONG for found in findings)
    rights = sum(found.state is FindingState.OK for found in findings)
    if wrongs:
        return f"{wrongs} of {wrongs + rights} findings are wrong"
    if not rights:
        return "nothing was asked, since nothing is configured here: the lines above say how"
    return f"all {rights} findings are right"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings; `ok` is whether nothing is wrong."""

    ok: bool
    findings: tuple[Finding, ...]


def diagnosis(findings: Sequence[Finding]) -> Diagnosis:
    """The findings as a machine reads them."""
    return Diagnosis(not any_wrong(findings), tuple(findings))


def any_wrong(findings: Iterable[Finding]) -> bool:
    """Whether something is wrong."""
    return any(found.state is FindingState.WRONG for found in findings)
