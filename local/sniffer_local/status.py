"""`sniffer local status`: what of the demo's stack runs, since when, and how often it had to be started again."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psutil

from sniffer.core.errors import TransientError
from sniffer.core.program import Program
from sniffer_local.layout import Layout, add_root_flag
from sniffer_local.processes import Service
from sniffer_local.registry import Registry
from sniffer_local.stack import API_SERVER, prepare_stack
from sniffer_local.supervision import SUPERVISOR, ServiceState, ServiceStatus, Supervision, read_supervision

NOT_RUNNING = 1


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `since` is Unix time, 0 when nobody knows."""

    name: str
    state: str
    since: float = 0.0
    restarts: int = 0
    address: str = ""
    log: str = ""
    note: str = ""

    @property
    def is_up(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.state == ServiceState.RUNNING


def rows(layout: Layout, registry: Registry, services: Sequence[Service]) -> list[Row]:
    """The supervisor and each service, asked now."""
    pid = registry.pid(SUPERVISOR)
    said = read_supervision(layout.supervision)
    with ThreadPoolExecutor(len(services)) as pool:
        answers = dict(zip((s.name for s in services), pool.map(lambda s: s.is_ready(), services), strict=True))
    log = str(layout.logs / "supervisor.log")
    supervisor = (
        Row(SUPERVISOR, ServiceState.RUNNING, psutil.Process(pid).create_time(), log=log) if pid else _down(log)
    )
    return [supervisor, *(_row(service, registry, answers, said if pid else None) for service in services)]


def _down(log: str) -> Row:
    return Row(SUPERVISOR, "down", log=log)


def _row(service: Service, registry: Registry, answers: dict[str, bool], said: Supervision | None) -> Row:
    status = said.services.get(service.name) if said else None
    state = _state(service.name, registry.is_alive(service.name), answers, status)
    known = status or ServiceStatus(ServiceState.STARTING, 0.0)
    return Row(service.name, state, known.since, known.restarts, service.address, str(service.log), known.note)


def _state(name: str, is_alive: bool, answers: dict[str, bool], status: ServiceStatus | None) -> str:
    if not is_alive:
        return status.state if status and status.state is not ServiceState.RUNNING else "down"
    if status and status.state is ServiceState.STARTING:
        return ServiceState.STARTING
    # Of Airflow's other processes the API server knows, so their silence says nothing while it is away.
    is_unknown = name.startswith("airflow-") and not answers[API_SERVER] and name != API_SERVER
    return ServiceState.RUNNING if answers[name] or is_unknown else "not answering"


def table(found: Sequence[Row]) -> str:
    """The rows for people, with what they have to know below."""
    lines = [("service", "state", "since", "restarts", "address", "log")]
    lines += [(r.name, r.state, _time(r.since), str(r.restarts), r.address or "-", r.log) for r in found]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    text += [f"{row.name}: {row.note}" for row in found if row.note]
    if not found[0].is_up:
        text.append("Without its supervisor, what ends stays down: `make demo` starts it, and takes over what runs.")
    return "\n".join(text)


def _time(since: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since)) if since else "-"


def _run(arguments: argparse.Namespace) -> int:
    layout = Layout(arguments.root)
    registry = Registry(layout.state, chooses_ports=False)
    if not registry.names():
        raise TransientError("the demo's stack does not run: start it by `make demo`")
    found = rows(layout, registry, prepare_stack(layout, registry).services)
    print(table(found))
    return 0 if all(row.is_up for row in found) else NOT_RUNNING


PROGRAM = Program(
    command="sniffer local status",
    summary="Show what of the demo's stack runs: each service with its state, since when, how often it was started "
    "again, its address and its log. The exit status is 1 unless everything runs.",
    run=_run,
    add_arguments=add_root_flag,
    examples=("sniffer local status",),
    extra="dev",
)


main = PROGRAM.main


if __name__ == "__main__":
    sys.exit(main())
