"""`make status`: what it shows of services that run, died, hang or were never started, and its exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from support.programs import eventually
from support.sleepers import QUICK, sleeper, supervised

from sniffer_local import status
from sniffer_local.keepers import Task
from sniffer_local.layout import Layout
from sniffer_local.processes import Service
from sniffer_local.registry import Registry
from sniffer_local.status import Row
from sniffer_local.supervision import SUPERVISOR, ServiceState, read_supervision


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


@pytest.fixture
def registry(layout: Layout) -> Iterator[Registry]:
    registry = Registry(layout.state)
    yield registry
    registry.stop(registry.names(), limit_s=0)


def shown(layout: Layout, registry: Registry, *services: Service) -> dict[str, Row]:
    return {row.name: row for row in status.rows(layout, registry, services)}


def states(layout: Layout) -> dict[str, ServiceState]:
    return {name: service.state for name, service in read_supervision(layout.supervision).services.items()}


def test_each_service_is_shown_as_it_is(layout: Layout, registry: Registry, tmp_path: Path) -> None:
    fine = replace(sleeper(tmp_path, "fine"), address="127.0.0.1:1")
    broken = sleeper(tmp_path, "broken", "exit 3")
    silent = sleeper(tmp_path, "silent")
    slow = replace(QUICK, first_delay_s=600, longest_delay_s=600)
    with supervised(tmp_path, Task(fine), Task(broken), Task(silent), pace=slow, file=layout.supervision):
        registry.ensure(sleeper(tmp_path, SUPERVISOR))  # stands for the process; what it would say is said by ours
        eventually(
            lambda: states(layout) == {"fine": "running", "broken": "restarting", "silent": "running"}, "all is said"
        )
        found = shown(layout, registry, fine, broken, replace(silent, is_ready=lambda: False))
        assert [row.state for row in found.values()] == ["running", "running", "restarting", "not answering"]
        assert [row.is_up for row in found.values()] == [True, True, False, False]
        text = status.table(list(found.values()))
        assert "broken: it ended with status 3; attempt 1 of 3, after 600 s" in text
        assert f"127.0.0.1:1  {tmp_path / 'fine.log'}" in text
        assert found["fine"].since > psutil.boot_time()


def test_without_a_supervisor_it_says_what_that_means(layout: Layout, registry: Registry, tmp_path: Path) -> None:
    service = sleeper(tmp_path, "one")
    with supervised(tmp_path, Task(service), file=layout.supervision):
        eventually(lambda: states(layout) == {"one": "running"}, "it runs")
    found = shown(layout, registry, service)
    assert [row.state for row in found.values()] == ["down", "running"]
    assert "`make demo` starts it, and takes over what runs" in status.table(list(found.values()))
    os.kill(registry.pid("one") or 0, signal.SIGKILL)
    eventually(lambda: registry.pid("one") is None, "it has died")
    assert shown(layout, registry, service)["one"].state == "down"


def test_without_a_stack_it_fails_and_says_how_to_start_one(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "sniffer_local.status", f"--root={tmp_path / 'none'}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "sniffer local status: the demo's stack does not run: start it by `make demo`\n"
    assert not (tmp_path / "none").exists()
