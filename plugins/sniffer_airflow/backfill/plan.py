"""Plan stage of `backfill_bucket`: from the form, the run and the prices to the flags of each program. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sniffer.core.flags import render_flags
from sniffer.core.rates import Rates
from sniffer_airflow.backfill.form import ApprovalLimits, BackfillForm
from sniffer_airflow.forms.fields import Json
from sniffer_airflow.pools import BACKFILL_POOL, POOLS
from sniffer_airflow.scan.form import NightlyTarget, ScanForm
from sniffer_airflow.scan.plan import ScanPlan, plan_scan
from sniffer_airflow.scan.window import RunDates

SLOTS, _ = POOLS[BACKFILL_POOL]
"""So many shards at a time the estimate reckons with, where the form says nothing: what the pool is made with."""


@dataclass(frozen=True)
class BackfillPlan:
    """One run: what is scanned, as a scan is planned, and what is done around it."""

    scan: ScanPlan
    limits: ApprovalLimits
    growth: float
    hours: str
    order: str
    rates: Rates | None

    def document(self) -> dict[str, Json]:
        """As JSON-ready values, for XCom and for people: those of the scan, ours, and each program's words."""
        scan_id = self.scan.scan_id
        estimate: dict[str, Json] = {
            "scan_id": scan_id,
            "at_a_time": self.scan.shards_at_a_time or SLOTS,
            "consumers": self.scan.consumers,
            "growth": self.growth,
            "rates": self.rates.document() if self.rates else None,
        }
        return self.scan.document() | {
            "limits": asdict(self.limits),
            "growth": self.growth,
            "hours": self.hours,
            "order": self.order,
            "arguments": [*self.scan.arguments(), "--even-one", "--needs-approval"],
            "estimate_arguments": render_flags(estimate),
            "shards_arguments": render_flags({"scan_id": scan_id, "order": self.order}),
            "scan_arguments": self.scan.scan_arguments(),
        }

    def in_words(self) -> str:
        """What is scanned, and when."""
        return f"{self.scan.in_words()}, {self.order} first, {self.hours or 'at any time of the day'}"


@dataclass(frozen=True)
class PlannedBackfill:
    """What the tasks after it need of the plan's document."""

    scan_id: str
    limits: ApprovalLimits
    hours: str


def plan_backfill(
    *, run_name: str, dag_run: str, dates: RunDates, form: BackfillForm, rates: Rates | None
) -> BackfillPlan:
    """Resolve the target, and check what no single field can show."""
    scan = ScanForm(
        bucket=form.bucket,
        prefix=form.prefix,
        since=None,
        until=None,
        limit=None,
        include=form.include,
        exclude=form.exclude,
        allow_empty=None,
        dry_run=False,
        model_version=form.model_version,
        rescan=False,
        retry_failed=False,
        consumers=form.consumers,
        look_back_days=None,
        flood_band=form.flood_band,
        shards=form.shards,
        shards_at_a_time=form.shards_at_a_time,
        inventory=form.inventory,
    )
    planned = plan_scan(run_name=run_name, dag_run=dag_run, dates=dates, form=scan, nightly=NightlyTarget())
    return BackfillPlan(planned, form.limits, form.growth, form.hours, form.order, rates)
