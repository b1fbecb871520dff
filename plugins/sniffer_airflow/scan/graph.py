"""The graph of a scan, from which `scan_bucket` is made, and a DAG for each source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from airflow.sdk import DAG, Param, XComArg

from sniffer_airflow.alerts.callbacks import late_alert, tell_of_failure
from sniffer_airflow.names import TASK_DEFAULTS
from sniffer_airflow.scan.held import decide_held
from sniffer_airflow.scan.sources import LATE_AFTER_HOURS, ScanSource
from sniffer_airflow.scan.tasks import certify, plan, scan, scan_backfill, shards
from sniffer_airflow.scan.timetable import NightsAndBackfills

RUNS_AT_A_TIME = 8


def scan_dag(
    dag_id: str,
    *,
    schedule: NightsAndBackfills,
    params: Mapping[str, Param],
    description: str,
    doc_md: str | None,
    source: ScanSource | None = None,
    more_tags: Sequence[str] = (),
) -> DAG:
    """A DAG that scores the new images of a bucket, that of the source, and proves that each is accounted for."""
    bucket = source.nightly.bucket if source else ""
    late_after = source.late_after if source else timedelta(hours=LATE_AFTER_HOURS)
    with DAG(
        dag_id,
        schedule=schedule,
        # Before S3 itself, so that any day can be backfilled; without catch-up it starts nothing.
        start_date=datetime(2006, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=RUNS_AT_A_TIME,
        deadline=late_alert(late_after, bucket),
        on_failure_callback=partial(tell_of_failure, bucket=bucket),
        default_args=TASK_DEFAULTS,
        params=dict(params),
        description=description,
        tags=["sniffer", "scan", *more_tags],
        doc_md=doc_md,
    ) as dag:
        cut = shards(source)
        items = XComArg(cut)
        plan() >> cut
        scans = [scan(items, source), scan_backfill(items, source)]
        scans >> certify()
        # Beside `certify`, which stays a last task: it is what makes the run of a scan that failed a failed one.
        scans >> decide_held()
    return dag
