"""
### What became of the nightly scans

One line for each source of the table, and for `scan_bucket` if it has a nightly target: in the log of `summarize`, and
in its XCom (`text`, and `sources` for machines). The run is red when somebody has to look at a source.

* **holds**: it was scanned, and its certificate in MySQL accounts for every object.
* **not due**: its schedule asked for nothing since the last summary.
* **running**: not over yet, and not late. The next summary tells how it ended.
* **late**: not over after the hours that it may take (`late_after_hours` in the table, else 6).
* **held**: somebody has to release it or discard it; so for every other state of `scans` in MySQL, by its name.
* **missing**: Airflow made no run. The line says whether the DAG is paused; else look at the scheduler.
* **failed**: the run failed, or its certificate does not hold, or the source is wrong, and the line says why.

#### When it runs

Every day at 06:00 UTC, or by `summary_schedule` in the table of sources. *Trigger* makes one of this moment.

#### If something goes wrong

Each line has the address of its run: see to that, then clear `summarize`, which looks again. A summary changes nothing,
so that it may be repeated at any time.
"""

from __future__ import annotations

from airflow.sdk import dag

from sniffer_airflow.alerts.callbacks import tell_of_failure
from sniffer_airflow.names import ALL_BUT_BACKFILL, TASK_DEFAULTS
from sniffer_airflow.scan.summary import summarize, summary_schedule


@dag(
    schedule=summary_schedule(),
    catchup=False,
    allowed_run_types=ALL_BUT_BACKFILL,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    on_failure_callback=tell_of_failure,
    description="Say each morning which source was scanned, and which is missing, late, held or failed. Every day.",
    tags=["sniffer", "scan"],
    doc_md=__doc__,
)
def scan_summary() -> None:
    """Judge the nights of all sources."""
    summarize()


scan_summary()
