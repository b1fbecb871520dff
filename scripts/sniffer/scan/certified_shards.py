"""The certificate of a scan in shards, from those that MySQL holds of its parts, kept as that of the whole."""

from __future__ import annotations

from collections.abc import Sequence

from sniffer.adapters.mysql.database import Database
from sniffer.core.flag_records import FloodRule
from sniffer.core.plan_flags import PlanCounts, PlanJudge, PlanPast
from sniffer.core.records import Certificate, ScanRequest
from sniffer.core.settings import fleet_settings
from sniffer.scan.flood import HISTORY_SCANS
from sniffer.scan.plan_flood import PAST_PLANS, whole_hold_reason
from sniffer.scan.shard_certificates import sum_certificates


def certify_shards(database: Database, whole: str) -> Certificate:
    """The stored certificate of the whole scan: the sum of all parts of its shards.

    It is held where all of them together have flagged what is no usual share. IncompleteScan while one of them is not
    complete, HeldScan where the whole is held then, ContractError when they do not fit each other.
    """
    budgets = fleet_settings().budgets

    def add_up(request: ScanRequest, parts: Sequence[Certificate]) -> Certificate:
        return sum_certificates(whole, parts, budgets, whole=request.key_range, allow_empty=request.allow_empty)

    return database.shards.certify(whole, add_up, PlanJudge(HISTORY_SCANS, PAST_PLANS, _hold_reason))


def _hold_reason(band: str, past: PlanPast, counts: PlanCounts) -> str:
    return whole_hold_reason(FloodRule.parse(band), past, counts)
