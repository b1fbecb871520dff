"""Services that do nothing but live, and a supervisor of them that is quick, for tests of the local stack."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sniffer_local.keepers import RestartPace, Task, supervise
from sniffer_local.processes import Service
from sniffer_local.registry import Registry

QUICK = RestartPace(first_delay_s=0.05, longest_delay_s=0.2, most_failures=3, steady_s=0.5, poll_s=0.02)


def sleeper(folder: Path, name: str, script: str = "echo up; exec sleep 600") -> Service:
    log = folder / f"{name}.log"
    return Service(name, ("sh", "-c", script), log, lambda: log.is_file() and "up" in log.read_text())


@contextmanager
def supervised(folder: Path, *tasks: Task, pace: RestartPace = QUICK, file: Path | None = None) -> Iterator[None]:
    """These tasks under a supervisor of our own process, as long as the block runs."""
    stop = threading.Event()
    arguments = (tasks, Registry(folder / "stack.json"), file or folder / "said.json", stop, pace)
    thread = threading.Thread(target=supervise, args=arguments)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
