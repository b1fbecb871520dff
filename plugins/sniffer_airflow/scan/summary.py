"""The task of `scan_summary`: what the schedules of all sources asked for, against what Airflow and MySQL have."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable, task
from airflow.sdk.exceptions import AirflowFailException, AirflowRuntimeError

from sniffer.core.errors import SettingsError
from sniffer.core.recorded_scan import RecordedScan
from sniffer.core.settings import database_settings
from sniffer_airflow.alerts.channels import read_alert_settings
from sniffer_airflow.executors.connections import fetch, program_environ
from sniffer_airflow.executors.errors import errors_by_reaction
from sniffer_airflow.forms.variables import read_variable
from sniffer_airflow.names import BUCKET_VARIABLE, SCAN_DAG, name_of_run, run_url
from sniffer_airflow.scan.nights import FAILED, NightRun, SourceNight, all_in_words, in_order, night_of
from sniffer_airflow.scan.source_table import read_sources, sources_now
from sniffer_airflow.scan.sources import LATE_AFTER_HOURS, SUMMARY_SCHEDULE, SourceTable
from sniffer_airflow.scan.timetable import EVERY_NIGHT, NightsAndBackfills

_LOOK_BACK = timedelta(days=1)
"""How far back a run was due that is looked at, besides the time that it may take: the last summary saw it running."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Expected:
    """A DAG that the schedule runs, or would but for its problem."""

    source: str
    dag_id: str
    schedule: str = EVERY_NIGHT
    late_after: timedelta = timedelta(hours=LATE_AFTER_HOURS)
    problem: str = ""


def summary_schedule() -> CronTriggerTimetable:
    """When the summary is made; at its usual time while nobody can read the table, which it then says."""
    try:
        cron = sources_now().summary_schedule
    except SettingsError:
        cron = SUMMARY_SCHEDULE
    return CronTriggerTimetable(cron, timezone="UTC", run_immediately=timedelta(0))


@task
def summarize(*, dag_run: Any = None, ti: Any = None) -> None:
    """A line for each source, the worst first, in the log and as XCom; fails when somebody has to look at one."""
    with errors_by_reaction():
        nights = in_order(_nights(dag_run.run_after, ti))
    for night in nights:
        log.log(logging.INFO if night.is_fine else logging.WARNING, "%s", night.in_words())
    if not nights:
        log.info("nothing is scanned by a schedule: there is no source, and no Variable %s", BUCKET_VARIABLE)
    ti.xcom_push(
        "return_value",
        {"text": "\n".join(night.in_words() for night in nights), "sources": [night.document() for night in nights]},
    )
    if problems := "; ".join(filter(None, (all_in_words(nights), _problem_of_alerts()))):
        raise AirflowFailException(problems)


def _problem_of_alerts() -> str:
    """Why nobody would be told of a failed night, so that it is known before; empty when they would."""
    try:
        read_alert_settings()
    except SettingsError as error:
        return str(error)
    return ""


def expected_of(table: SourceTable, nightly_bucket: str) -> list[Expected]:
    """What is to be there: `scan_bucket` where it has a nightly target, and every source, also a wrong one."""
    found = [Expected(SCAN_DAG, SCAN_DAG)] if nightly_bucket else []
    found += [Expected(one.name, one.dag_id, one.schedule, one.late_after) for one in table.sources]
    for wrong in table.wrong:
        found.append(Expected(wrong.name or "a source without a usable name", wrong.dag_id, problem=wrong.problem))
    return found


def due_runs(expected: Expected, until: datetime) -> dict[str, datetime]:
    """When the runs were due that a summary made then looks at, by their ids."""
    timetable = NightsAndBackfills(expected.schedule)
    runs = timetable.due(until - _LOOK_BACK - expected.late_after, until)
    return {timetable.run_id(run): run.run_after for run in runs}


def _nights(until: datetime, ti: Any) -> list[SourceNight]:
    try:
        table, problem = read_sources(), ""
    except SettingsError as error:
        table, problem = SourceTable(), str(error)
    nights = [SourceNight("the table of sources", "", FAILED, problem)] if problem else []
    expected = expected_of(table, read_variable(BUCKET_VARIABLE))
    nights += [SourceNight(each.source, each.dag_id, FAILED, each.problem) for each in expected if each.problem]
    right = {each: due_runs(each, until) for each in expected if not each.problem}
    names = {(each.dag_id, run_id): name_of_run(each.dag_id, run_id) for each, due in right.items() for run_id in due}
    scans = recorded_scans([*names.values()])
    for each, due in right.items():
        runs = [
            NightRun(due_at, run_id, run_state(ti, each.dag_id, run_id), scans[names[each.dag_id, run_id]])
            for run_id, due_at in due.items()
        ]
        nights.append(
            night_of(
                each.source,
                each.dag_id,
                runs,
                now=max(until, datetime.now(UTC)),
                late_after=each.late_after,
                is_paused=is_paused(ti, each.dag_id),
                urls={run.run_id: run_url(each.dag_id, run.run_id) for run in runs},
            )
        )
    return nights


def recorded_scans(run_names: Sequence[str]) -> Mapping[str, tuple[RecordedScan, ...]]:
    """The scans that MySQL has of each of those runs; raises the store's errors."""
    from sniffer.adapters.mysql.database import Database  # SQLAlchemy: 0.5 s that parsing a DAG file must not pay

    if not run_names:
        return {}
    environ = program_environ(os.environ, fetch(aws=False, serving=False))
    with Database(database_settings(environ)) as database:
        return {name: database.scans.of_run(name) for name in run_names}


def run_state(ti: Any, dag_id: str, run_id: str) -> str | None:
    """What Airflow says of that run; None when there is none."""
    if not ti.get_dr_count(dag_id, run_ids=[run_id]):
        return None
    state = ti.get_dagrun_state(dag_id, run_id)
    return str(getattr(state, "value", state))


def is_paused(ti: Any, dag_id: str) -> bool:
    """Whether somebody has paused the DAG; no for one that Airflow does not know."""
    try:
        return bool(ti.get_dag(dag_id).is_paused)
    except AirflowRuntimeError as error:
        log.warning("Airflow does not tell of the DAG %s: %s", dag_id, error)
        return False
