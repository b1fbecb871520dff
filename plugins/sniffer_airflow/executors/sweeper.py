"""The process that deletes pods that have outlived their task, when the worker that started them is gone.

The scheduler starts it where programs run in pods, and it ends with the scheduler. It asks Airflow's own database whose
task is over. It needs the scheduler to have the right to list and delete pods; else it says so, and pods that are left
go when the next one starts, or at their deadline.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow.listeners import hookimpl
from airflow.sdk.exceptions import AirflowException

from sniffer.core.errors import SettingsError

SWEEP_S = 15.0
"""From one look to the next: with a pod's end within seconds nothing is left after a minute."""

_PLACE_VARIABLE, _PODS = "SNIFFER_RUN_IN", "pods"

log = logging.getLogger(__name__)


@hookimpl
def on_starting(component: object) -> None:
    """Start the process, and have an id before any task starts a pod, when the scheduler starts."""
    jobs = sys.modules.get("airflow.jobs.job")
    if jobs is None or not isinstance(component, jobs.Job):
        return
    if os.environ.get(_PLACE_VARIABLE) == _PODS and "scheduler" in sys.argv:
        from sniffer_airflow.executors.airflow_id import ensure_airflow_id

        start()  # first: it waits for an id
        ensure_airflow_id()


def start() -> subprocess.Popen[bytes]:
    """Start the process, which ends soon after its parent."""
    # Airflow has put the folder of plugins on this process's path only.
    path = os.pathsep.join([*filter(None, sys.path), str(Path(__file__).parents[2])])
    environ = {**os.environ, "PYTHONPATH": path, "_AIRFLOW_PROCESS_CONTEXT": "server"}
    command = [sys.executable, "-P", "-m", __name__, str(os.getpid())]
    return subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, start_new_session=True)


class DatabaseStates:
    """What Airflow's database says of runs and tasks."""

    def get_dr_count(self, dag_id: str, *, run_ids: list[str], states: list[str]) -> int:
        """How many of these runs are in one of these states."""
        from airflow.models.dagrun import DagRun
        from airflow.utils.session import create_session

        these = (DagRun.dag_id == dag_id, DagRun.run_id.in_(run_ids), DagRun.state.in_(states))
        with create_session() as session:
            return int(session.query(DagRun).filter(*these).count())

    def get_task_states(
        self, dag_id: str, *, task_ids: list[str], run_ids: list[str]
    ) -> Mapping[str, Mapping[str, str]]:
        """By run and task, the states of these tasks; of mapped ones, with the index."""
        from airflow.models.taskinstance import TaskInstance as Row
        from airflow.utils.session import create_session

        these = (Row.dag_id == dag_id, Row.run_id.in_(run_ids), Row.task_id.in_(task_ids))
        found: dict[str, dict[str, str]] = {}
        with create_session() as session:
            for run_id, task_id, index, state in session.query(
                Row.run_id, Row.task_id, Row.map_index, Row.state
            ).filter(*these):
                found.setdefault(run_id, {})[task_id if index < 0 else f"{task_id}_{index}"] = str(state)
        return found


class _OnlyNews:
    """The log, in which what is wrong for hours is said once."""

    def __init__(self) -> None:
        self._said = ""

    def warning(self, message: str, *values: Any) -> None:
        text = message % values
        if text != self._said:
            log.warning("%s", text)
        self._said = text


def sweep(api: Any, log: Any) -> None:
    """Delete the pods that have outlived their task, wherever our templates start some."""
    from sniffer_airflow.executors.airflow_id import airflow_id
    from sniffer_airflow.executors.orphans import remove_orphans
    from sniffer_airflow.executors.templates import namespaces

    own = airflow_id()
    for namespace in namespaces():
        remove_orphans(api, namespace, DatabaseStates(), log, own)


def sweep_until(parent_pid: int) -> None:
    """Look every SWEEP_S, as long as that process is our parent."""
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
    from kubernetes import client as k8s_client

    from sniffer_airflow.executors.patient_client import PatientClient

    news = _OnlyNews()
    while os.getppid() == parent_pid:
        try:
            hook = KubernetesHook(conn_id=KubernetesHook.default_conn_name)
            api = k8s_client.CoreV1Api(PatientClient(hook.core_v1_client.api_client))
            sweep(api, news)
        except (SettingsError, AirflowException) as error:
            news.warning("%s", error)
        except Exception as error:  # noqa: BLE001 - a database or an API that is away today is there tomorrow
            news.warning("Pods that have outlived their task cannot be looked for: %s", type(error).__name__)
        next_look = time.monotonic() + SWEEP_S
        while os.getppid() == parent_pid and time.monotonic() < next_look:
            time.sleep(0.5)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    sweep_until(int(sys.argv[1]))
