from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from support.programs import eventually

from sniffer.core.errors import SettingsError, TransientError
from sniffer_local.processes import Service, answers_on
from sniffer_local.registry import Registry, only_one

SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN_PARENT = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("up", flush=True)
time.sleep(600)
"""
PARENT_THAT_LEAVES_A_CHILD = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"])
"""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    registry = Registry(tmp_path / "stack.json")
    yield registry
    registry.stop(registry.names(), limit_s=0)


def sleeper(folder: Path, program: str = SLEEPER, name: str = "sleeper", mark: str = "") -> Service:
    log = folder / f"{name}.log"
    is_up = lambda: log.is_file() and "up" in log.read_text()  # noqa: E731
    return Service(name, (sys.executable, "-c", program), log, is_up, {"MARK": mark})


def recorded(registry_file: Path) -> dict[str, int]:
    return {name: record["pid"] for name, record in json.loads(registry_file.read_text())["processes"].items()}


def rewrite(registry_file: Path, change: Callable[[dict[str, object]], None]) -> None:
    state = json.loads(registry_file.read_text())
    change(state["processes"]["sleeper"])
    registry_file.write_text(json.dumps(state))


def ended(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_running_service_is_found_again_and_not_started_twice(registry: Registry, tmp_path: Path) -> None:
    assert registry.ensure(sleeper(tmp_path))
    registry.wait(sleeper(tmp_path))
    other_run = Registry(tmp_path / "stack.json")
    assert other_run.is_alive("sleeper")
    assert not other_run.ensure(sleeper(tmp_path))


def test_a_service_that_should_run_otherwise_is_replaced(registry: Registry, tmp_path: Path) -> None:
    registry.ensure(sleeper(tmp_path))
    first = recorded(tmp_path / "stack.json")["sleeper"]
    assert registry.ensure(sleeper(tmp_path, mark="changed"))
    assert ended(first)
    assert registry.is_alive("sleeper")


def test_stop_ends_it_and_forgets_it(registry: Registry, tmp_path: Path) -> None:
    registry.ensure(sleeper(tmp_path))
    pid = recorded(tmp_path / "stack.json")["sleeper"]
    assert registry.stop(["sleeper"]) == ["sleeper"]
    assert ended(pid)
    assert registry.names() == []
    assert registry.stop(["sleeper"]) == []


@pytest.mark.parametrize("stale", ["started_ticks", "boot"])
def test_a_foreign_process_with_a_recycled_id_is_left_alone(registry: Registry, tmp_path: Path, stale: str) -> None:
    file = tmp_path / "stack.json"
    registry.ensure(sleeper(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", SLEEPER], stdout=subprocess.DEVNULL, start_new_session=True
    ) as foreign:
        ours = recorded(file)["sleeper"]
        rewrite(file, lambda record: record.update({"pid": foreign.pid, stale: "0" if stale == "boot" else 1}))
        assert not registry.is_alive("sleeper")
        assert registry.stop(["sleeper"], limit_s=1) == []
        assert foreign.poll() is None
        foreign.kill()
    psutil.Process(ours).kill()


def test_what_a_stubborn_service_started_in_other_sessions_ends_too(registry: Registry, tmp_path: Path) -> None:
    service = sleeper(tmp_path, STUBBORN_PARENT)
    registry.ensure(service)
    registry.wait(service)
    parent = psutil.Process(recorded(tmp_path / "stack.json")["sleeper"])
    family = [parent, *parent.children(recursive=True)]
    assert len(family) == 2
    registry.stop(["sleeper"], limit_s=0.2)
    assert [p.pid for p in family if not ended(p.pid)] == []


def test_children_of_a_service_that_has_died_end_too(registry: Registry, tmp_path: Path) -> None:
    service = sleeper(tmp_path, PARENT_THAT_LEAVES_A_CHILD)
    registry.ensure(service)
    eventually(service.is_ready, "it is ready")
    leader = recorded(tmp_path / "stack.json")["sleeper"]
    eventually(lambda: not registry.is_alive("sleeper"), "the leader has ended")
    [orphan] = [p.pid for p in psutil.process_iter() if p.pid != leader and session(p.pid) == leader]
    registry.stop(["sleeper"], limit_s=0)
    assert ended(orphan)


def session(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[3])
    except (FileNotFoundError, ProcessLookupError):
        return None


def test_a_service_that_dies_while_starting_is_reported_with_its_log(registry: Registry, tmp_path: Path) -> None:
    service = Service(
        "broken", (sys.executable, "-c", "raise SystemExit('no such model')"), tmp_path / "l", lambda: False
    )
    registry.ensure(service)
    with pytest.raises(TransientError, match="broken ended while starting(.|\n)*no such model"):
        registry.wait(service)


def test_a_port_is_kept_until_somebody_else_takes_it(registry: Registry) -> None:
    port = registry.port("s3")
    assert registry.port("s3") == port
    with subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)], stderr=subprocess.DEVNULL
    ) as squatter:
        eventually(lambda: answers_on(port), "the port answers")
        assert registry.port("s3") != port
        squatter.kill()


def test_the_services_output_and_secrets_stay_out_of_the_state_file(registry: Registry, tmp_path: Path) -> None:
    registry.ensure(sleeper(tmp_path, mark="pa55word"))
    assert "pa55word" not in (tmp_path / "stack.json").read_text()
    assert "pa55word" not in repr(sleeper(tmp_path, mark="pa55word"))


def test_only_one_run_at_a_time(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with only_one(lock, "make demo"), pytest.raises(SettingsError, match="make demo is running"):
        only_one(lock, "make demo").__enter__()
    with only_one(lock, "make demo"):
        pass


def test_the_services_do_not_get_the_signals_of_our_terminal(registry: Registry, tmp_path: Path) -> None:
    registry.ensure(sleeper(tmp_path))
    pid = recorded(tmp_path / "stack.json")["sleeper"]
    assert session(pid) == pid
    psutil.Process(pid).send_signal(signal.SIGCONT)
