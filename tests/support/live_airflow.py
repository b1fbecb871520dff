"""A whole Airflow of real processes over PostgreSQL: scheduler with LocalExecutor, DAG processor, API server.

To be killed: its parts are children of the test, and whatever descends from them carries a mark by which it is found,
whoever its parent is meanwhile.
"""

from __future__ import annotations

import os
import signal
import tempfile
import uuid
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

from sniffer_local import postgres
from sniffer_local.airflow import (
    AirflowClient,
    AirflowConnection,
    AirflowSite,
    airflow_services,
    migrate_metadata,
    prepare_site,
)
from sniffer_local.postgres import postgres_service
from sniffer_local.processes import Child, free_port
from support.programs import command_line, eventually

_REPOSITORY = Path(__file__).parents[2]
_MARK = "KILLED_AIRFLOW"
_QUICK = {
    # A dead scheduler is noticed after these, its tasks are another's then.
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    # A dead worker is noticed after this.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "40",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
}


class LiveAirflow:
    """The parts, started; `environ` is what tasks and programs get besides."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._mark = uuid.uuid4().hex
        self._folder = folder
        self._environ = {**environ, **_QUICK, _MARK: self._mark}
        self._stack = ExitStack()
        self.site: AirflowSite
        self.client: AirflowClient
        self.parts: dict[str, Child] = {}
        self._sessions: set[int] = set()

    def __enter__(self) -> Self:
        with self._stack:
            # Debian's user of PostgreSQL can enter neither pytest's folders nor what they hold.
            outside = Path(self._stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
            outside.chmod(0o755)
            patch = self._stack.enter_context(pytest.MonkeyPatch.context())
            patch.setattr(postgres, "OUTSIDE", outside / "sniffer-bot")
            database = postgres.prepare_site(self._folder / "postgres")
            server = Child(postgres_service(database, self._folder / "postgres.log"))
            self._stack.callback(server.stop)
            server.start()
            self.site = prepare_site(self._folder / "airflow", _REPOSITORY, free_port(), self._environ, database)
            migrate_metadata(self.site, database, self._folder / "migrate.log")
            self.client = AirflowClient(self.site)
            self._stack.callback(self._end)
            for service in airflow_services(self.site, self._folder / "logs"):
                self.parts[service.name.removeprefix("airflow-")] = Child(service)
            for name in ("api-server", "scheduler", "dag-processor"):
                self._start(name)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def connect(self, *connections: AirflowConnection) -> None:
        """Create these Connections, or change them."""
        self.client.set_connections(connections)

    def programs(self) -> list[psutil.Process]:
        """Programs of ours that its tasks have started and that live, with all below them, in whatever session."""
        return [each for each in self._all(by_session=False) if "sniffer" in " ".join(command_line(each))]

    def _all(self, *, by_session: bool) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, ProcessLookupError):
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                # Airflow's own processes have written their title over their environment.
                of_session = by_session and os.getsid(process.pid) in self._sessions
                if of_session or process.environ().get(_MARK) == self._mark:
                    found.append(process)
        return found

    def kill_scheduler(self, *, with_workers: bool) -> None:
        """SIGKILL to the scheduler alone, as for want of memory, or to its workers with it, as with its container."""
        child = self.parts["scheduler"]
        if with_workers:
            child.kill()
        else:
            os.kill(child.pid, signal.SIGKILL)
            eventually(lambda: not child.is_running, "the scheduler is dead")

    def start_scheduler(self) -> None:
        """Start another one."""
        self._start("scheduler")

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the REST API."""
        return self.client._call(method, path, body)

    def _start(self, name: str) -> None:
        self.parts[name].start()
        self._sessions.add(self.parts[name].pid)

    def _end(self) -> None:
        for name in ("scheduler", "dag-processor", "api-server"):
            self.parts[name].kill()
        for process in self._all(by_session=True):
            with suppress(psutil.NoSuchProcess):
                process.kill()
