"""A run of any DAG of ours in a real Airflow, by programs as processes or as pods: watched, killed, looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import psutil
from sqlalchemy import create_engine, make_url, text

from sniffer.adapters.mysql.database import Database
from sniffer_local import s3
from sniffer_local.airflow import ENDED_STATES, AirflowConnection
from support.kube_config import kubernetes_connection
from support.live_airflow import LiveAirflow
from support.pod_cluster import PodCluster
from support.programs import command_line, eventually

ORPHANS_END_S = 60.0
RUN_LIMIT_S = 900.0


@dataclass
class LiveRun:
    """A run, triggered; `cluster` is where its programs are pods."""

    airflow: LiveAirflow
    dag_id: str
    run_id: str
    cluster: PodCluster | None

    @property
    def path(self) -> str:
        return f"/dags/{self.dag_id}/dagRuns/{quote(self.run_id, safe='')}"

    def state(self) -> str:
        return self.airflow.client.run_state(self.dag_id, self.run_id)

    def states(self) -> dict[str, str]:
        return self.airflow.client.task_states(self.dag_id, self.run_id)

    def log(self, task_id: str) -> str:
        """Of the task's last try."""
        return "\n".join(self.airflow.client.task_log(self.dag_id, self.run_id, task_id))

    def task_process(self, task_id: str) -> psutil.Process:
        """The process in which Airflow runs the task; its parent watches it."""
        return psutil.Process(self._task(task_id)["pid"])

    def mark_failed(self, task_id: str) -> None:
        """As a person does in the UI."""
        self.airflow.call("PATCH", f"{self.path}/taskInstances/{task_id}", {"new_state": "failed"})

    def clear(self, task_id: str) -> None:
        """As a person does in the UI, with what comes after it."""
        which = {"dag_run_id": self.run_id, "task_ids": [task_id], "include_downstream": True}
        how = {"dry_run": False, "only_failed": False, "reset_dag_runs": True}
        self.airflow.call("POST", f"/dags/{self.dag_id}/clearTaskInstances", which | how)

    def programs(self, module: str = "sniffer") -> list[psutil.Process]:
        """The processes of its programs that live: those that run that module, or all."""
        if self.cluster is not None:
            found = [process for pod in self.cluster.created for process in pod.family()]
        else:
            found = self.airflow.programs()
        return [one for one in found if any(word.startswith(module) for word in command_line(one)[:5])]

    def program(self, module: str) -> psutil.Process:
        """The process that runs that module, as soon as it does."""
        eventually(lambda: self.programs(module), f"{module} runs: {self.states()}", RUN_LIMIT_S)
        return self.programs(module)[0]

    def assert_gone(self, processes: Sequence[psutil.Process]) -> None:
        """What worked before a kill is gone within a minute."""
        eventually(lambda: not living(processes), f"nothing is left of {living(processes)}", ORPHANS_END_S)

    def ends(self, state: str) -> None:
        """The run ends in that state, and leaves no process and no pod."""
        eventually(lambda: self.state() in ENDED_STATES, f"the run ends: {self.states()}", RUN_LIMIT_S)
        assert self.state() == state, self.states()
        eventually(lambda: not self.orphans(), f"no orphan of {self.orphans()}", ORPHANS_END_S)

    def orphans(self) -> list[object]:
        """What its programs have left."""
        return [*self.cluster.orphans()] if self.cluster is not None else [*self.airflow.programs()]

    def _task(self, task_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.airflow.call("GET", f"{self.path}/taskInstances/{task_id}")
        return found


@dataclass
class Place:
    """Where a test's runs work: `cluster` is where their programs are pods."""

    airflow: LiveAirflow
    cluster: PodCluster | None
    database: Database
    database_url: str
    s3_url: str
    serving_url: str = ""

    def start(self, dag_id: str, **form: object) -> LiveRun:
        """Tell Airflow of this test's systems, and start a run with that form."""
        self._connect()
        self.airflow.client.wait_for_dag(dag_id, 200)
        self.airflow.client.unpause(dag_id)
        return LiveRun(self.airflow, dag_id, self.airflow.client.trigger(dag_id, form), self.cluster)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the database answers."""
        engine = create_engine(self.database_url)
        with engine.connect() as connection:
            found = [tuple(row) for row in connection.execute(text(query))]
        engine.dispose()
        return found

    @contextmanager
    def locked(self, table: str) -> Iterator[None]:
        """Nobody can write to the table meanwhile."""
        engine = create_engine(self.database_url)
        with engine.connect() as connection:
            connection.execute(text(f"LOCK TABLES {table} READ"))
            yield
            connection.execute(text("UNLOCK TABLES"))
        engine.dispose()

    def waits_for(self, table: str) -> bool:
        """Whether somebody waits to write to it."""
        waiting = self.rows("SHOW FULL PROCESSLIST")
        return any("lock" in str(row[6]) and f"INTO {table}" in str(row[7]) for row in waiting)

    def events(self, asset: str) -> int:
        """How many events of it there are."""
        found = self.airflow.call("GET", f"/assets/events?name_pattern={asset}")["asset_events"]
        return sum(one["name"] == asset for one in found)

    def _connect(self) -> None:
        found = connections(self.database_url, self.s3_url, self.serving_url)
        if self.cluster is not None:
            found.append(kubernetes_connection(self.cluster.url))
        self.airflow.connect(*found)


def connections(database_url: str, s3_url: str, serving_url: str = "") -> list[AirflowConnection]:
    """What Airflow has to know of a test's systems."""
    database = make_url(database_url)
    extra = {"region_name": s3.REGION, "endpoint_url": s3_url}
    found = [
        AirflowConnection("aws_default", "aws", login=s3.ACCESS_KEY, password=s3.SECRET_KEY, extra=extra),
        AirflowConnection(
            "mysql_default",
            "mysql",
            host=database.host,
            port=database.port,
            login=database.username,
            password=database.password,
            schema=database.database,
            extra={name: str(value) for name, value in database.query.items()},
        ),
    ]
    if serving_url:
        serving = urlsplit(serving_url)
        found.append(AirflowConnection("sniffer_serving", "http", host=serving.hostname, port=serving.port))
    return found


def family(process: psutil.Process) -> list[psutil.Process]:
    """A program's process, those below it, and its supervisor, where it has one."""
    above = [one for one in process.parents() if "supervisor.py" in " ".join(command_line(one))]
    return [process, *process.children(recursive=True), *above]


def living(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Those that are there still."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
