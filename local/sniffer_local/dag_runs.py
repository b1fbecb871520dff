"""DAG runs as the demo follows them: started, watched to their end, and explained when they fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sniffer.core.errors import TransientError
from sniffer_local.airflow import ENDED_STATES, LOGIN, AirflowClient, AirflowSite

RUN_LIMIT_S = 1800.0
START_LIMIT_S = 120.0
POLL_S = 2.0
LOG_TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class DagRun:
    """One run of one DAG."""

    dag_id: str
    run_id: str


class DagRuns:
    """Runs DAGs of one Airflow and tells how they go on, a line for each change."""

    def __init__(self, site: AirflowSite, logs: Path, tell: Callable[[str], None]) -> None:
        self._site = site
        self._client = AirflowClient(site)
        self._logs = logs
        self._tell = tell

    def known(self, dag_id: str) -> set[str]:
        """The ids of the DAG's runs so far; waits until Airflow has the DAG."""
        self._client.wait_for_dag(dag_id)
        return self._client.run_ids(dag_id)

    def run(self, dag_id: str, conf: Mapping[str, Any]) -> DagRun:
        """Trigger the DAG and wait for its end; raises TransientError with the end of the failed task's log."""
        self._client.wait_for_dag(dag_id)
        run = DagRun(dag_id, self._client.trigger(dag_id, conf))
        # Only now: a scheduled run that Airflow makes up for comes second.
        self._client.unpause(dag_id)
        return self._follow(run)

    def let_run(self, dag_id: str) -> None:
        """Let the DAG's runs start, of whatever kind."""
        self._client.wait_for_dag(dag_id)
        self._client.unpause(dag_id)

    def await_next(self, dag_id: str, known: set[str]) -> DagRun:
        """Wait for a run that is not among those known, and for its end; raises TransientError as `run` does."""
        return self._follow(self.await_start(dag_id, known))

    def await_start(self, dag_id: str, known: set[str]) -> DagRun:
        """Wait for a run that is not among those known, and leave it to go on; raises TransientError if none comes."""
        deadline = time.monotonic() + START_LIMIT_S
        while not (fresh := self._client.run_ids(dag_id) - known):
            if time.monotonic() > deadline:
                raise TransientError(
                    f"Airflow has not started {dag_id} within {START_LIMIT_S:.0f} s: see its scheduler"
                )
            time.sleep(POLL_S)
        return DagRun(dag_id, min(fresh))

    def task_state(self, run: DagRun, task_id: str) -> str:
        """The state of one task of the run."""
        return self._client.task_states(run.dag_id, run.run_id)[task_id]

    def result(self, run: DagRun, task_id: str) -> Any:
        """What a task of the run returned."""
        return self._client.task_result(run.dag_id, run.run_id, task_id)

    def log_end(self, run: DagRun, task_id: str) -> str:
        """The last lines of a task's log."""
        log = self._client.task_log(run.dag_id, run.run_id, task_id)
        return "\n".join([line for line in log if not line.startswith("::")][-LOG_TAIL_LINES:])

    def _follow(self, run: DagRun) -> DagRun:
        self._tell(f"Airflow runs the DAG {run.dag_id}: {run.run_id}")
        deadline, told = time.monotonic() + RUN_LIMIT_S, ""
        while (state := self._client.run_state(run.dag_id, run.run_id)) not in ENDED_STATES:
            if time.monotonic() > deadline:
                raise TransientError(f"{run.run_id} has not ended in {RUN_LIMIT_S:.0f} s: see {self.page(run)}")
            if (now := self._situation(run)) != told:
                self._tell(f"  {now}")
                told = now
            time.sleep(POLL_S)
        if state != "success":
            raise TransientError(self._failure(run))
        return run

    def _situation(self, run: DagRun) -> str:
        """The states of the run's tasks, and how far a scan is."""
        tasks = self._client.task_states(run.dag_id, run.run_id)
        text = ", ".join(f"{task} {state}" for task, state in tasks.items() if state != "none") or "queued"
        if tasks.get("scan") != "running":
            return text
        progress = self._client.task_progress(run.dag_id, run.run_id, "scan", map_index=0)
        if not progress:
            return text
        to_do = progress["listed"] - progress["unchanged"]
        return f"{text}: {progress['done']} of {to_do} images done, {progress['state']}"

    def _failure(self, run: DagRun) -> str:
        states = self._client.task_states(run.dag_id, run.run_id)
        failed = [task for task, state in states.items() if state == "failed"]
        return (
            f"the DAG run {run.run_id} failed in {' and '.join(failed) or 'no task'}; its log ends:\n"
            + (self.log_end(run, failed[0]) if failed else "")
            + f"\nMore at {self.page(run)} (login {LOGIN}, password in {self._site.passwords}) and in {self._logs}. "
            "When the cause is fixed, run `make demo` again; what is done already is kept."
        )

    def page(self, run: DagRun) -> str:
        """The run's address in Airflow's UI."""
        return f"{self._site.url}/dags/{run.dag_id}/runs/{run.run_id}"
