"""The buttons on `gate` that open the report, and say by their names what the verdict is.

Airflow fixes a button's name when it parses the DAG, and shows no button without an address: so there is one for each
kind of verdict, and only that one gets the address.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from airflow.sdk import BaseOperatorLink
from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.execution_time.xcom import XCom

from sniffer.core.errors import ContractError
from sniffer.core.gate_records import GateVerdict
from sniffer.core.json_records import parse_record
from sniffer_airflow.names import report_url


class VerdictKind(StrEnum):
    """A verdict, as the button names it."""

    ACCEPTED = "Report: accepted"
    WITH_WARNINGS = "Report: accepted, with warnings"
    OVERRIDDEN = "Report: rejected by the gate, accepted by a person"
    REJECTED = "Report: rejected"

    @classmethod
    def of(cls, verdict: GateVerdict) -> VerdictKind:
        """That of the verdict; what a person overrode is said before all else."""
        if not verdict.blessed:
            return cls.REJECTED
        if verdict.overridden_by is not None:
            return cls.OVERRIDDEN
        return cls.WITH_WARNINGS if verdict.warnings else cls.ACCEPTED


class ReportLink(BaseOperatorLink):
    """The button of one kind of verdict."""

    def __init__(self, kind: VerdictKind) -> None:
        self._kind = kind

    @property
    def name(self) -> str:
        """The button's text."""
        return self._kind

    @property
    def xcom_key(self) -> str:
        """Where Airflow keeps the address from the task's end on."""
        return f"_link_report_{self._kind.name.lower()}"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """The report's address; empty for another kind of verdict, or when the task has ended without one."""
        verdict = verdict_in(XCom.get_value(ti_key=ti_key, key=BaseXCom.XCOM_RETURN_KEY))
        if verdict is None or verdict.version is None or VerdictKind.of(verdict) is not self._kind:
            return ""
        return report_url(verdict.version)


REPORT_LINKS = tuple(ReportLink(kind) for kind in VerdictKind)


def verdict_in(result: object) -> GateVerdict | None:
    """The verdict that a task handed on; None when it is none, which `bless` says and stops at."""
    try:
        return parse_record(result, GateVerdict, "the result of gate", "", ignore_unknown=True)
    except ContractError:
        return None
