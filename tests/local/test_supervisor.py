"""What keeps the local stack running: services that die come back, more slowly each time, and never twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from support.programs import eventually
from support.sleepers import QUICK, sleeper, supervised

from sniffer_local.keepers import RestartPace, Task
from sniffer_local.processes import Service, answers_http, free_port
from sniffer_local.registry import Registry
from sniffer_local.supervision import ServiceState, ServiceStatus, read_supervision

SUPERVISOR = """
import signal, sys, threading
from pathlib import Path
from sniffer_local.processes import Service, answers_http, free_port
from sniffer_local.registry import Registry
from sniffer_local.keepers import Task, supervise
from support.sleepers import QUICK, sleeper
folder, stop = Path(sys.argv[1]), threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
tasks = [Task(sleeper(folder, name)) for name in ("one", "two")]
supervise(tasks, Registry(folder / "stack.json"), folder / "said.json", stop, QUICK)
"""


def said(folder: Path, name: str) -> ServiceStatus:
    return read_supervision(folder / "said.json").services.get(name, ServiceStatus(ServiceState.HELD, 0.0))


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    registry = Registry(tmp_path / "stack.json")
    yield registry
    registry.stop(registry.names(), limit_s=0)


def is_running(folder: Path, name: str, restarts: int = 0) -> Callable[[], bool]:
    def check() -> bool:
        status = said(folder, name)
        return status.state is ServiceState.RUNNING and status.restarts == restarts

    return check


def pid(registry: Registry, name: str) -> int:
    found = registry.pid(name)
    assert found is not None
    return found


def sleepers(folder: Path, name: str) -> list[int]:
    """The processes of that name, whoever started them: they all write to its log."""
    log = str(folder / f"{name}.log")
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and os.readlink(f"/proc/{process.pid}/fd/1") == log:
                found.append(process.pid)
        except (OSError, psutil.Error):
            continue
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_dies_is_started_again_and_counted(tmp_path: Path, registry: Registry, number: signal.Signals) -> None:
    with supervised(tmp_path, Task(sleeper(tmp_path, "one")), Task(sleeper(tmp_path, "two"))):
        eventually(lambda: is_running(tmp_path, "one")() and is_running(tmp_path, "two")(), "both run")
        first, other = pid(registry, "one"), pid(registry, "two")
        os.kill(first, number)
        eventually(is_running(tmp_path, "one", restarts=1), "it runs again")
        assert pid(registry, "one") != first
        assert (pid(registry, "two"), said(tmp_path, "two").restarts) == (other, 0)


def test_what_a_dead_service_has_left_ends_before_the_next_starts(tmp_path: Path, registry: Registry) -> None:
    service = sleeper(tmp_path, "one", "sleep 600 & echo up; wait")
    with supervised(tmp_path, Task(service)):
        eventually(is_running(tmp_path, "one"), "it runs")
        eventually(lambda: len(sleepers(tmp_path, "one")) == 2, "it has a child")
        os.kill(pid(registry, "one"), signal.SIGKILL)
        eventually(is_running(tmp_path, "one", restarts=1), "it runs again")
        eventually(lambda: len(sleepers(tmp_path, "one")) == 2, "the first one's child has ended")


def test_a_service_that_never_lasts_is_given_up_and_says_why(tmp_path: Path, registry: Registry) -> None:
    with supervised(tmp_path, Task(sleeper(tmp_path, "one", "echo try; exit 7"))):
        eventually(lambda: said(tmp_path, "one").state is ServiceState.GIVEN_UP, "it is given up")
        assert "it ended with status 7, 4 times in a row; see its log" in said(tmp_path, "one").note
    assert (tmp_path / "one.log").read_text().count("try") == 1 + QUICK.most_failures


def test_a_crash_loop_shows_while_it_lasts(tmp_path: Path, registry: Registry) -> None:
    slow = RestartPace(first_delay_s=600, longest_delay_s=600, poll_s=0.02)
    with supervised(tmp_path, Task(sleeper(tmp_path, "one", "kill -9 $$")), pace=slow):
        eventually(lambda: said(tmp_path, "one").state is ServiceState.BACKING_OFF, "it waits for its next start")
        assert said(tmp_path, "one").note == "killed by SIGKILL; attempt 1 of 10, after 600 s"


def test_pauses_double_up_to_a_minute_and_end() -> None:
    pauses = [RestartPace().delay_s(failures) for failures in range(1, 12)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, None]


def test_a_service_that_lasted_starts_from_the_first_pause_again(tmp_path: Path, registry: Registry) -> None:
    with supervised(tmp_path, Task(sleeper(tmp_path, "one"))):
        for restarts in range(QUICK.most_failures + 2):
            eventually(is_running(tmp_path, "one", restarts), "it runs")
            started = time.time()
            eventually(lambda: time.time() - started > QUICK.steady_s + 0.2, "it has lasted")  # noqa: B023
            os.kill(pid(registry, "one"), signal.SIGKILL)
        eventually(is_running(tmp_path, "one", QUICK.most_failures + 2), "it runs, more often than it may fail")


ATTENTIVE = replace(QUICK, ask_s=0.02, silence_s=0.6, frozen_stop_s=0.1)
"""Notices within a second what does not answer."""


def web_server(folder: Path) -> Service:
    """A server that accepts connections while it is frozen, as the system does that for it."""
    port = free_port()
    command = (sys.executable, "-m", "http.server", "--bind=127.0.0.1", f"--directory={folder}", str(port))
    return Service("one", command, folder / "one.log", lambda: answers_http(port), start_limit_s=20.0)


def test_a_frozen_service_is_ended_and_started_again(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sniffer_local.processes.ANSWER_LIMIT_S", 0.2)
    caplog.set_level("INFO")
    with supervised(tmp_path, Task(web_server(tmp_path)), pace=ATTENTIVE):
        eventually(is_running(tmp_path, "one"), "it runs")
        first, since = pid(registry, "one"), said(tmp_path, "one").since
        os.kill(first, signal.SIGSTOP)
        eventually(lambda: "has not answered since" in said(tmp_path, "one").note, "its silence is told")
        assert said(tmp_path, "one").since == since
        eventually(is_running(tmp_path, "one", restarts=1), "it runs again")
        assert pid(registry, "one") != first
        assert said(tmp_path, "one").note == ""
    assert "it did not answer for 1 s and was ended; started again in 0 s" in caplog.text


def test_a_service_that_answers_again_in_time_is_left_alone(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sniffer_local.processes.ANSWER_LIMIT_S", 0.2)
    with supervised(tmp_path, Task(web_server(tmp_path)), pace=replace(ATTENTIVE, silence_s=60.0)):
        eventually(is_running(tmp_path, "one"), "it runs")
        first = pid(registry, "one")
        os.kill(first, signal.SIGSTOP)
        eventually(lambda: "started again after 60 s of it" in said(tmp_path, "one").note, "its silence is told")
        os.kill(first, signal.SIGCONT)
        eventually(lambda: said(tmp_path, "one").note == "", "it is heard again")
        assert (pid(registry, "one"), said(tmp_path, "one").restarts) == (first, 0)


def test_a_service_that_never_answers_is_given_up_in_the_end(tmp_path: Path, registry: Registry) -> None:
    mute = replace(sleeper(tmp_path, "one", "echo try; exec sleep 600"), is_ready=lambda: False, start_limit_s=0.1)
    with supervised(tmp_path, Task(mute), pace=replace(ATTENTIVE, silence_s=0.1)):
        eventually(lambda: said(tmp_path, "one").state is ServiceState.GIVEN_UP, "it is given up")
        assert "it did not answer for 0 s and was ended, 4 times in a row" in said(tmp_path, "one").note
    assert registry.pid("one") is None


def test_silence_counts_only_while_it_says_something(tmp_path: Path, registry: Registry) -> None:
    """What asks the service, or what it needs, is away; once that is back, the service has its whole time again."""
    talks, judge = tmp_path / "talks", tmp_path / "judge"
    for file in (talks, judge):
        file.touch()
    asked: list[float] = []

    def is_ready() -> bool:
        asked.append(time.monotonic())
        return talks.exists()

    service = replace(sleeper(tmp_path, "one"), is_ready=is_ready)
    with supervised(tmp_path, Task(service, can_be_judged=judge.exists), pace=ATTENTIVE):
        eventually(is_running(tmp_path, "one"), "it runs")
        first = pid(registry, "one")
        judge.unlink()
        talks.unlink()
        start = time.monotonic()
        eventually(lambda: asked[-1] - start > 2 * ATTENTIVE.silence_s, "it was asked for long enough")
        assert pid(registry, "one") == first
        judge.touch()
        eventually(lambda: registry.pid("one") != first, "it is ended")


def test_a_service_waits_for_what_it_needs_at_each_start(tmp_path: Path, registry: Registry) -> None:
    database = tmp_path / "database"
    task = Task(sleeper(tmp_path, "one"), lambda: None if database.exists() else "the database")
    with supervised(tmp_path, task):
        eventually(lambda: said(tmp_path, "one").note == "waits for the database", "it is held")
        assert registry.pid("one") is None
        database.touch()
        eventually(is_running(tmp_path, "one"), "it runs")
        database.unlink()
        os.kill(pid(registry, "one"), signal.SIGKILL)
        eventually(lambda: said(tmp_path, "one").state is ServiceState.HELD, "it is held again")


def test_a_stopped_supervisor_leaves_its_services_and_the_next_takes_them_over(
    tmp_path: Path, registry: Registry
) -> None:
    with supervised(tmp_path, Task(sleeper(tmp_path, "one"))):
        eventually(is_running(tmp_path, "one"), "it runs")
        os.kill(pid(registry, "one"), signal.SIGKILL)
        eventually(is_running(tmp_path, "one", 1), "it runs again")
    before, since = pid(registry, "one"), said(tmp_path, "one").since
    with supervised(tmp_path, Task(sleeper(tmp_path, "one"))):
        eventually(is_running(tmp_path, "one", 1), "it is known to run")
        assert (pid(registry, "one"), said(tmp_path, "one").since) == (before, since)
        os.kill(before, signal.SIGKILL)  # a process that is no child of this supervisor
        eventually(is_running(tmp_path, "one", 2), "it runs again")


def test_after_a_killed_supervisor_nothing_runs_twice(tmp_path: Path, registry: Registry) -> None:
    names = ("one", "two")

    def start() -> subprocess.Popen[bytes]:
        command = (sys.executable, "-c", SUPERVISOR, str(tmp_path))
        return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])})

    first = start()
    eventually(lambda: all(is_running(tmp_path, name)() for name in names), "both run")
    running = [pid(registry, name) for name in names]
    first.kill()
    first.wait()
    assert [pid(registry, name) for name in names] == running
    os.kill(running[0], signal.SIGKILL)
    with start() as second:
        eventually(is_running(tmp_path, "one", restarts=1), "the one that died meanwhile runs again")
        second.terminate()
    assert pid(registry, "two") == running[1]
    assert [len(sleepers(tmp_path, name)) for name in names] == [1, 1]


def test_a_long_log_is_moved_away_while_the_service_writes_on(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sniffer_local.keepers.LOG_LIMIT_BYTES", 100)
    monkeypatch.setattr("sniffer_local.keepers.LOG_CHECK_S", 0.0)
    talker = "echo up; i=0; while :; do i=$((i+1)); echo line $i; sleep 0.005; done"
    with supervised(tmp_path, Task(sleeper(tmp_path, "one", talker))):
        older = tmp_path / "one.log.1"
        eventually(lambda: older.is_file() and older.stat().st_size > 100, "it is moved away")
        eventually(lambda: "line" in (tmp_path / "one.log").read_text(), "the service writes on")
        assert "\0" not in (tmp_path / "one.log").read_text()
