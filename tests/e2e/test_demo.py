"""The whole product by `make demo`'s program, twice, and `make down`'s; on a stack of its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from sniffer_local.airflow import ENDED_STATES, AirflowClient
from sniffer_local.layout import Layout
from sniffer_local.registry import Registry
from sniffer_local.stack import prepare_stack

FIRST_LIMIT_S = 300
SECOND_LIMIT_S = 90
RETRAINING_LIMIT_S = 600
"""It goes on while the demo ends."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("stack")
    yield root
    run("down", root)


def run(program: str, root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"sniffer_local.{program}", "--root", str(root)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)


def family(root: Path) -> list[psutil.Process]:
    """The recorded processes and everything below them."""
    leaders = [record["pid"] for record in json.loads((root / "stack.json").read_text())["processes"].values()]
    return [p for pid in leaders for p in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))]


def exposure(processes: list[psutil.Process]) -> tuple[list[str], str]:
    """What the processes show to others: the addresses they listen on, and their command lines."""
    listening: list[str] = []
    arguments = ""
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # Airflow forks for a moment to parse a DAG
            arguments += " ".join(process.cmdline()) + "\n"
            sockets = process.net_connections("tcp")
            listening += [s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN]
    return listening, arguments


def counts(output: str) -> dict[str, int]:
    """The certificate's sum: listed and each outcome."""
    found = re.search(r"listed +(\d+) = (.*)", output)
    assert found, output
    return {"listed": int(found[1])} | {name: int(n) for n, name in re.findall(r"(\d+) (\w+)", found[2])}


def check_loop(output: str, root: Path) -> None:
    """A part of the queue was decided and became labels, which a retraining has begun with; the rest waits."""
    said = re.search(r"has decided (\d+) images: (\d+) drug, (\d+) not drug; (\d+) wrongly", output)
    assert said, output
    decided, drug, other, wrong = map(int, said.groups())
    assert decided == drug + other >= 20 and drug and other and wrong < decided / 4
    assert f"the decisions are labels: {drug} drugs, {other} other, in s3://sniffer-labels/" in output
    assert f"{decided} of {720 + decided} labelled images are new" in output
    assert "Airflow retrains by them: http://127.0.0.1:" in output
    waiting = re.search(r"(\d+) images wait there", output)
    assert waiting and int(waiting[1]) >= decided
    layout = Layout(root)
    client = AirflowClient(prepare_stack(layout, Registry(layout.state)).airflow)
    deadline = time.monotonic() + RETRAINING_LIMIT_S
    by_labels = next(run for run in client.run_ids("retrain_model") if run.startswith("asset_triggered"))
    while (state := client.run_state("retrain_model", by_labels)) not in ENDED_STATES:
        assert time.monotonic() < deadline, client.task_states("retrain_model", by_labels)
        time.sleep(2)
    assert state == "success", client.task_states("retrain_model", by_labels)
    sizes = client.task_result("retrain_model", by_labels, "snapshot")["sizes"]
    assert sum(sum(split.values()) for split in sizes.values()) > 720
    assert client.task_result("retrain_model", by_labels, "gate")["stable_version"] == 1


def secrets(root: Path) -> list[str]:
    login = json.loads((root / "airflow/passwords.json").read_text())["admin"]
    reviewing = json.loads((root / "review/passwords.json").read_text()).values()
    return [(root / "mariadb/password").read_text(), login, *reviewing]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_demo_runs_twice_on_loopback_alone_and_down_ends_it_all(root: Path) -> None:
    started = time.monotonic()
    first = run("demo", root)
    first_s = time.monotonic() - started
    assert first.returncode == 0, first.stdout + first.stderr
    assert "Traceback" not in first.stdout + first.stderr
    fresh = counts(first.stdout)
    assert fresh["listed"] >= 300
    assert fresh["listed"] == sum(n for name, n in fresh.items() if name != "listed")
    assert fresh["unchanged"] == fresh["failed"] == 0
    assert min(fresh["predicted"], fresh["reused"], fresh["unreadable"]) > 0
    assert len(re.findall(r"0\.\d{4}.* s3://", first.stdout)) == 10

    check_loop(first.stdout, root)

    running = family(root)
    listening, arguments = exposure(running)
    assert len(listening) >= 4
    assert set(listening) == {"127.0.0.1"}
    assert not [secret for secret in secrets(root) if secret in arguments]
    logs = "".join(log.read_text(errors="replace") for log in root.rglob("*.log"))
    assert not [secret for secret in secrets(root) if secret in logs]

    started = time.monotonic()
    second = run("demo", root)
    assert second.returncode == 0, second.stdout + second.stderr
    assert counts(second.stdout)["unchanged"] == counts(second.stdout)["listed"] == fresh["listed"]
    second_s = time.monotonic() - started
    assert "labelled images are new" not in second.stdout and "images wait there" in second.stdout

    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as bystander:
        down = run("down", root)
        assert down.returncode == 0, down.stderr
        assert bystander.poll() is None
        bystander.kill()
    assert [p for p in running if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
    assert run("down", root).stdout.strip() == "nothing was running"
    # Last, since a busy machine fails these alone.
    assert first_s < FIRST_LIMIT_S
    assert second_s < SECOND_LIMIT_S
