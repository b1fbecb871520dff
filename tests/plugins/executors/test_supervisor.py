"""The supervisor and the operator above it: whatever happens to the task, nothing of the program is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.programs import eventually

from sniffer_airflow.executors.process import SUPERVISOR
from sniffer_airflow.executors.supervisor import descendants

PROGRAMS = Path(__file__).parent / "programs"
TESTS = Path(__file__).parents[2]

AIRFLOWS_PATIENCE_S = 5.0
"""From the supervisor's SIGTERM to its SIGKILL."""


class Task:
    """A task whose program ignores SIGTERM and has a child and an orphaned grandchild in sessions of their own."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / name
        self._path.with_suffix(".arguments").write_text(json.dumps([f"--family={self._path}.family", "--stubborn"]))
        self.family: list[psutil.Process] = []

    def await_start(self) -> None:
        pids = [int(self._read(".pid")), *json.loads(self._read(".family"))]
        self.family = [psutil.Process(pid) for pid in pids]
        assert len(self.family) == 5 and all(_alive(process) for process in self.family)

    def send(self, number: signal.Signals) -> None:
        self.family[0].send_signal(number)

    def seconds_until_nobody_is_left(self) -> float:
        began = time.monotonic()
        eventually(lambda: not any(_alive(process) for process in self.family), "everybody has ended")
        return time.monotonic() - began

    def end(self) -> tuple[int, str]:
        return int(self._read(".status")), self._path.with_suffix(".output").read_text()

    def _read(self, suffix: str) -> str:
        path = self._path.with_suffix(suffix)
        eventually(path.exists, f"there is a file {path.name}")
        return path.read_text()


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Task]]:
    folder = tmp_path_factory.mktemp("tasks")
    tasks = {name: Task(folder, name) for name in ("stopped", "killed", "timed-out")}
    runner = subprocess.Popen(
        [sys.executable, str(PROGRAMS / "task_processes.py"), str(folder)],
        env=os.environ | {"PYTHONPATH": f"{PROGRAMS}{os.pathsep}{TESTS}"},
        stdout=subprocess.DEVNULL,
    )
    for task in tasks.values():
        task.await_start()
    yield tasks
    for process in [process for task in tasks.values() for process in task.family]:
        if _alive(process):
            process.kill()
    runner.wait(timeout=20)


def test_on_kill_ends_everybody_before_airflow_loses_patience(tasks: dict[str, Task]) -> None:
    tasks["stopped"].send(signal.SIGTERM)
    assert tasks["stopped"].seconds_until_nobody_is_left() < AIRFLOWS_PATIENCE_S
    status, output = tasks["stopped"].end()
    assert status == 1
    assert output.startswith("AirflowException: pretend was stopped by Airflow")


def test_sigkill_of_the_task_process_leaves_nobody(tasks: dict[str, Task]) -> None:
    tasks["killed"].send(signal.SIGKILL)
    assert tasks["killed"].seconds_until_nobody_is_left() < AIRFLOWS_PATIENCE_S


def test_a_timed_out_task_ends_after_everybody_else(tasks: dict[str, Task]) -> None:
    task = tasks["timed-out"]
    task.send(signal.SIGALRM)
    assert task.end() == (3, "timed out")
    assert not any(_alive(process) for process in task.family)


def test_a_child_left_behind_ends_with_its_program(tmp_path: Path) -> None:
    left = tmp_path / "left"
    command = [str(PROGRAMS / "pretend.py"), f"--leave-a-child={left}", "--exit-status=7"]
    assert _keep(sys.executable, *command) == 7
    assert not psutil.pid_exists(int(left.read_text()))


def test_death_by_a_signal_is_told_as_a_shell_tells_it() -> None:
    assert _keep(sys.executable, str(PROGRAMS / "pretend.py"), f"--die-by={signal.SIGKILL:d}") == 128 + signal.SIGKILL


def test_no_program_starts_for_a_parent_that_has_gone(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    assert _keep("touch", str(mark), parent_pid=1) == 128 + signal.SIGTERM
    assert not mark.exists()


def test_descendants_are_all_below_and_nobody_else() -> None:
    assert descendants(2, {1: 0, 2: 1, 3: 2, 4: 3, 5: 1, 6: 4, 7: 2}) == [3, 4, 6, 7]


def _keep(*command: str, parent_pid: int | None = None) -> int:
    supervisor = [sys.executable, "-I", "-S", str(SUPERVISOR), str(parent_pid or os.getpid()), "1"]
    return subprocess.run([*supervisor, *command], check=False, stdout=subprocess.DEVNULL, timeout=30).returncode


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
