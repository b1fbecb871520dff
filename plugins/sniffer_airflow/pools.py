"""The pools that scans share, made when Airflow starts where they are missing: a task without its pool waits for ever.

A listener, which Airflow calls in each of its processes; those with access to its database (scheduler, DAG processor,
triggerer) are jobs. A pool that is there keeps the slots that somebody gave it.
"""

from __future__ import annotations

import logging
import sys

from airflow.listeners import hookimpl

SCAN_POOL = "sniffer_scan"
"""Scans of nights and by hand, of `scan_bucket` and of every source."""
BACKFILL_POOL = "sniffer_backfill"
"""Scans of backfills, of all of them: no night waits for one."""

SCANS_AT_A_TIME = 2
"""Of one DAG over all its runs, whatever max_active_runs says; a source may have more. Less than SCAN_POOL has, so that
a bucket leaves room for others. Airflow counts by task, so that the scan of a backfill is a task of its own."""

POOLS = {
    SCAN_POOL: (4, "Scans of sniffer-bot, nightly and by hand: so many run at a time, over all buckets"),
    BACKFILL_POOL: (2, "Scans of sniffer-bot in backfills: so many run at a time, besides those of sniffer_scan"),
}
"""Slots and description that each is made with."""

log = logging.getLogger(__name__)


@hookimpl
def on_starting(component: object) -> None:
    """Make the pools, when a process starts that may."""
    jobs = sys.modules.get("airflow.jobs.job")
    if jobs is not None and isinstance(component, jobs.Job):
        make_missing_pools()


def make_missing_pools() -> None:
    """Make each pool that is not there; safe at any time, and for several at once."""
    from airflow.models.pool import Pool
    from airflow.utils.session import create_session

    for name, (slots, description) in POOLS.items():
        try:
            with create_session() as session:
                if Pool.get_pool(name, session=session) is None:
                    Pool.create_or_update_pool(name, slots, description, False, session=session)
                    log.info("made the pool %s with %d slots", name, slots)
        except Exception as error:  # noqa: BLE001 - no scheduler stays down for a pool; another may just have made it
            log.warning("the pool %s is missing, or could not be looked for: %s", name, type(error).__name__)
