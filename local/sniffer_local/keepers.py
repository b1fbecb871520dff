"""Keeps services running: what has ended is started again, more slowly each time, and given up in the end.

In: services. Out: what is said of them (`sniffer_local.supervision`). One thread for each service; the services are
processes of their own, which outlive these threads.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sniffer.core.errors import SnifferError
from sniffer_local.processes import Service
from sniffer_local.registry import Registry
from sniffer_local.supervision import (
    SUPERVISOR,
    ServiceState,
    ServiceStatus,
    Supervision,
    read_supervision,
    write_supervision,
)

LOG_CHECK_S = 60.0
LOG_LIMIT_BYTES = 20 * 2**20

logger = logging.getLogger(SUPERVISOR)


@dataclass(frozen=True, slots=True)
class RestartPace:
    """How fast services are started again; durations in seconds."""

    first_delay_s: float = 1.0
    longest_delay_s: float = 60.0
    most_failures: int = 10
    """Starts in a row that did not last, about five minutes of them, after which a service is given up."""
    steady_s: float = 60.0
    """A service that has answered and lived so long has started well."""
    poll_s: float = 0.5

    def delay_s(self, failures: int) -> float | None:
        """How long to wait after so many failures in a row before the next start; None: no more starts."""
        if failures > self.most_failures:
            return None
        return float(min(self.first_delay_s * 2 ** (failures - 1), self.longest_delay_s))


@dataclass(frozen=True, slots=True)
class Task:
    """A service to be kept running, and what it waits for before each start: a reason, or None to start."""

    service: Service
    waits_for: Callable[[], str | None] = lambda: None


class Board:
    """What the supervisor says, written to its file at each change; for all threads."""

    def __init__(self, file: Path, names: Sequence[str]) -> None:
        self._file = file
        self._lock = threading.Lock()
        before = read_supervision(file).services
        fresh = ServiceStatus(ServiceState.STARTING, time.time())
        self._ran = {name for name, status in before.items() if status.state is ServiceState.RUNNING}
        self._services = {name: _inherited(before.get(name, fresh), fresh) for name in names}
        self._write()

    def has_run(self, name: str) -> bool:
        """Whether an earlier supervisor left the service running."""
        return name in self._ran

    def say(self, name: str, state: ServiceState, **changes: Any) -> None:
        """Change what is said of a service; `since` becomes now when its state changes."""
        with self._lock:
            before = self._services[name]
            since = before.since if before.state is state else time.time()
            self._services[name] = replace(before, **{"since": since, "state": state, "note": "", **changes})
            if self._services[name] != before:
                self._write()

    def restarted(self, name: str) -> None:
        """Count one more restart of the service."""
        with self._lock:
            before = self._services[name]
            self._services[name] = replace(before, restarts=before.restarts + 1)

    def _write(self) -> None:
        write_supervision(self._file, Supervision(os.getpid(), dict(self._services)))


def _inherited(before: ServiceStatus, fresh: ServiceStatus) -> ServiceStatus:
    """What stays true of a service when another supervisor takes it over."""
    return before if before.state is ServiceState.RUNNING else replace(fresh, restarts=before.restarts)


class Keeper(threading.Thread):
    """Keeps one service running until told to stop; the service itself is not stopped then."""

    def __init__(self, task: Task, registry: Registry, board: Board, stop: threading.Event, pace: RestartPace) -> None:
        super().__init__(name=task.service.name)
        self._service, self._waits_for = task.service, task.waits_for
        self._registry, self._board, self._stop_asked, self._pace = registry, board, stop, pace
        self._log_checked = time.monotonic()

    def run(self) -> None:
        """Start the service, or find it running, and start it again whenever it ends."""
        try:
            self._keep()
        except (SnifferError, OSError) as error:
            logger.error("%s: %s", self.name, error)
            self._board.say(self.name, ServiceState.GIVEN_UP, note=str(error))

    def _keep(self) -> None:
        # What ran under an earlier supervisor and died without one is started again, not for the first time.
        failures, is_restart = 0, self._board.has_run(self.name) and not self._registry.is_alive(self.name)
        while not self._stop_asked.is_set():
            if not self._registry.runs(self._service):
                self._hold()
                if self._stop_asked.is_set():
                    return
            if self._registry.ensure(self._service):
                self._board.say(self.name, ServiceState.STARTING, failures=failures)
                logger.info("%s: started, process %s", self.name, self._registry.pid(self.name))
                if is_restart:
                    self._board.restarted(self.name)
            is_restart = True
            has_lasted = self._watch(failures)
            if self._stop_asked.is_set():
                return
            failures = 1 if has_lasted else failures + 1
            if not self._back_off(failures):
                return

    def _hold(self) -> None:
        while (reason := self._waits_for()) and not self._stop_asked.wait(self._pace.poll_s):
            self._board.say(self.name, ServiceState.HELD, note=f"waits for {reason}")

    def _watch(self, failures: int) -> bool:
        """Return when the process has ended, or we have to; whether it had answered, and lived for a while."""
        started, is_ready = time.monotonic(), False
        while self._registry.is_alive(self.name):
            if not is_ready and self._service.is_ready() and self._registry.is_alive(self.name):
                is_ready = True
                self._board.say(self.name, ServiceState.RUNNING, failures=failures)
                logger.info("%s: answers", self.name)
            if failures and is_ready and time.monotonic() - started >= self._pace.steady_s:
                failures = 0
                self._board.say(self.name, ServiceState.RUNNING, failures=0)
            self._limit_log()
            if self._stop_asked.wait(self._pace.poll_s):
                break
        return is_ready and time.monotonic() - started >= self._pace.steady_s

    def _back_off(self, failures: int) -> bool:
        """Wait before the next start; False when there is to be none."""
        ending, delay = self._ending(), self._pace.delay_s(failures)
        if delay is None:
            note = f"{ending}, {failures} times in a row; see its log, then `make demo` tries again"
            logger.error("%s: %s", self.name, note)
            self._board.say(self.name, ServiceState.GIVEN_UP, failures=failures, note=note)
            return False
        logger.warning("%s: %s; started again in %.0f s", self.name, ending, delay)
        note = f"{ending}; attempt {failures} of {self._pace.most_failures}, after {delay:.0f} s"
        self._board.say(self.name, ServiceState.BACKING_OFF, failures=failures, note=note)
        self._stop_asked.wait(delay)
        return True

    def _ending(self) -> str:
        status = self._registry.exit_status(self.name)
        if status is None:
            return "it ended"
        return f"killed by {signal.Signals(-status).name}" if status < 0 else f"it ended with status {status}"

    def _limit_log(self) -> None:
        """Move a long log away. The server goes on writing to the same file, at its end."""
        if time.monotonic() - self._log_checked < LOG_CHECK_S:
            return
        self._log_checked = time.monotonic()
        log = self._service.log
        if log.is_file() and log.stat().st_size > LOG_LIMIT_BYTES:
            shutil.copyfile(log, log.with_name(f"{log.name}.1"))
            os.truncate(log, 0)


def supervise(
    tasks: Sequence[Task], registry: Registry, file: Path, stop: threading.Event, pace: RestartPace | None = None
) -> None:
    """Keep all of them running until `stop` is set; returns once nothing more can be started."""
    board = Board(file, [task.service.name for task in tasks])
    keepers = [Keeper(task, registry, board, stop, pace or RestartPace()) for task in tasks]
    for keeper in keepers:
        keeper.start()
    stop.wait()
    for keeper in keepers:
        keeper.join()
