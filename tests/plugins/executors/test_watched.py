"""A task's process whose watcher at Airflow's side is killed: it ends, and so does its program."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import types
from pathlib import Path

import psutil
import pytest
from support.programs import eventually

from sniffer_airflow.executors import watched

FAMILY = """
import os, sys, time
from pathlib import Path
from sniffer_airflow.executors.process import ProgramProcess
from sniffer_airflow.executors.watched import end_with

if os.fork() == 0:  # the task, as Airflow's watcher forks it
    end_with(os.getppid())
    command = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"]
    with ProgramProcess(command, dict(os.environ)) as program:
        supervisor = program._supervisor.pid
        while not (below := Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text()):
            time.sleep(0.01)
        print(os.getpid(), supervisor, below, flush=True)
        list(program.lines(600))  # it says nothing, so that nobody would notice by a broken pipe
else:
    os.wait()
"""


def test_a_silent_program_ends_when_the_watcher_of_its_task_is_killed(repository: Path) -> None:
    path = os.pathsep.join([str(repository / "plugins"), str(repository / "scripts")])
    watcher = subprocess.Popen(
        [sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path}
    )
    with watcher:
        assert watcher.stdout is not None
        family = [psutil.Process(int(pid)) for pid in watcher.stdout.readline().split()]
        assert len(family) == 3 and all(each.is_running() for each in family)
        watcher.kill()
        eventually(lambda: not any(each.is_running() for each in family), "nothing of it is left", 30)


LATE = f"""
import os, socket, sys, types
from sniffer_airflow.executors.watched import end_when_unwatched

watcher, task = socket.socketpair()
runner = sys.modules[{watched._TASK_RUNNER!r}] = types.ModuleType("runner")
runner.SUPERVISOR_COMMS = types.SimpleNamespace(socket=task)
end_when_unwatched()
print("watched", flush=True)
watcher.close()  # as the kernel does when it dies
end_when_unwatched()
print("works on", flush=True)
"""


def test_a_watcher_that_died_before_its_task_had_begun_is_noticed(repository: Path) -> None:
    """Its task has another parent by then, which lives."""
    path = os.pathsep.join([str(repository / "plugins"), str(repository / "scripts")])
    command, environ = [sys.executable, "-c", LATE], os.environ | {"PYTHONPATH": path}
    ended = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, env=environ)
    assert (ended.stdout, ended.returncode) == ("watched\n", -signal.SIGKILL)


def test_a_run_without_a_watcher_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `DAG.test()` runs tasks: in the caller's own process."""
    watching: list[int] = []
    monkeypatch.setattr(watched, "end_with", watching.append)
    runner = types.ModuleType(watched._TASK_RUNNER)
    monkeypatch.setitem(sys.modules, watched._TASK_RUNNER, runner)
    watched.end_when_unwatched()
    runner.SUPERVISOR_COMMS = object()  # type: ignore[attr-defined]
    watched.end_when_unwatched()
    assert watching == []
    watcher, task = socket.socketpair()
    with watcher, task:
        runner.SUPERVISOR_COMMS = types.SimpleNamespace(socket=task)  # type: ignore[attr-defined]
        watched.end_when_unwatched()
    assert watching == [os.getppid()]
