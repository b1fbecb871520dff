"""What the supervisor says of the services it keeps, as one JSON file; and starting it, and waiting for a service.

The supervisor (`sniffer_local.supervisor`) writes, `make demo` and `make status` read.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from sniffer.core.errors import TransientError
from sniffer_local.layout import Layout
from sniffer_local.processes import Service, log_tail
from sniffer_local.registry import Registry, recipe

SUPERVISOR = "supervisor"
PATIENCE = 3
"""After so many starts in a row that failed, nobody waits for the service any more, although it is tried again."""

STOP_LIMIT_S = 30.0
POLL_S = 0.1


class ServiceState(StrEnum):
    """What the supervisor is at with a service."""

    HELD = "waiting"  # for another service
    STARTING = "starting"
    RUNNING = "running"
    BACKING_OFF = "restarting"
    GIVEN_UP = "gave up"


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service: `since` is Unix time; `failures` counts the starts in a row that did not last."""

    state: ServiceState
    since: float
    restarts: int = 0
    failures: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Supervision:
    """All that a supervisor says; `pid` is its own."""

    pid: int
    services: Mapping[str, ServiceStatus]


def write_supervision(file: Path, supervision: Supervision) -> None:
    """Replace what was said before."""
    draft = file.with_suffix(".tmp")
    draft.write_text(json.dumps(asdict(supervision), indent=1))
    draft.replace(file)


def read_supervision(file: Path) -> Supervision:
    """The newest word; of nobody about nothing when there is none, or none that can be read."""
    try:
        said = json.loads(file.read_text())
        services = {
            name: ServiceStatus(**{**status, "state": ServiceState(status["state"])})
            for name, status in said["services"].items()
        }
        return Supervision(said["pid"], services)
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return Supervision(0, {})


def supervisor_service(layout: Layout, services: Sequence[Service]) -> Service:
    """The supervisor of these services; of others, or from other code, it is another one."""
    recipes = hashlib.sha256("".join(recipe(service) for service in services).encode()).hexdigest()
    command = (sys.executable, "-m", "sniffer_local.supervisor", f"--root={layout.root}", f"--recipes={recipes}")
    registry = Registry(layout.state)
    return Service(
        SUPERVISOR,
        command,
        layout.logs / "supervisor.log",
        lambda: read_supervision(layout.supervision).pid == registry.pid(SUPERVISOR),
        code=(Path(__file__).parent,),
    )


def ensure_supervised(layout: Layout, registry: Registry, services: Sequence[Service]) -> bool:
    """Have the services kept running by one supervisor, which finds those that run already. True if it was started.

    One that keeps other services, or that gave one up, is replaced; the services that run as asked notice nothing.
    """
    supervisor = supervisor_service(layout, services)
    said = read_supervision(layout.supervision).services.values()
    if registry.runs(supervisor) and not any(status.state is ServiceState.GIVEN_UP for status in said):
        return False
    registry.stop_alone(SUPERVISOR, STOP_LIMIT_S)
    registry.ensure(supervisor)
    registry.wait(supervisor)
    return True


def wait_for(layout: Layout, registry: Registry, service: Service) -> None:
    """Return once the service answers; raises TransientError when it fails again and again, or takes too long."""
    deadline = time.monotonic() + service.start_limit_s
    while True:
        status = read_supervision(layout.supervision).services.get(service.name)
        if status is not None and status.state is ServiceState.RUNNING and service.is_ready():
            return
        if status is not None and (status.state is ServiceState.GIVEN_UP or status.failures >= PATIENCE):
            raise TransientError(f"{service.name} does not start: {status.note}. {_ending(service.log)}")
        if registry.pid(SUPERVISOR) is None:
            raise TransientError(f"the supervisor ended. {_ending(layout.logs / 'supervisor.log')}")
        if time.monotonic() > deadline:
            raise TransientError(
                f"{service.name} did not answer within {service.start_limit_s:.0f} s. {_ending(service.log)}"
            )
        time.sleep(POLL_S)


def _ending(log: Path) -> str:
    return f"Its log {log} ends:\n{log_tail(log)}"
