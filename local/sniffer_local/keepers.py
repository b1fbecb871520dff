"""Keeps services running: what has ended, or no longer answers, is started again, more slowly each time.

What does not last again and again is given up in the end.

In: services. Out: what is said of them (`sniffer_local.supervision`). One thread for each service; the services are
processes of their own, which outlive these threads.
"""

from __future__ import annotations

import logging
import math
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
    ask_s: float = 10.0
    """How often a service that has answered is asked again."""
    silence_s: float = 180.0
    """A living service that has not answered for so long is ended, to be started again; one that starts has its own
    `start_limit_s` more."""
    frozen_stop_s: float = 5.0
    """How long what does not answer has to end by itself, before it is killed."""

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
    can_be_judged: Callable[[], bool] = lambda: True
    """Whether its silence says anything of itself: not while what it answers by, or cannot answer without, is away."""


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


@dataclass(frozen=True, slots=True)
class _Run:
    """How one run of a service went: whether it lasted, and how it ended."""

    has_lasted: bool
    ending: str


class _Health:
    """Asks a service now and then whether it answers, and knows for how long it has not."""

    def __init__(self, task: Task, pace: RestartPace) -> None:
        self._task, self._pace = task, pace
        self._started_at = self._heard_at = time.monotonic()
        self._asked_at = -math.inf
        self.has_answered = False
        self.is_silent = False
        """Whether it has answered before, and did not the last time."""

    def ask(self) -> bool:
        """Whether the service was asked now: every `poll_s` while it starts, then every `ask_s`."""
        if self.has_answered and time.monotonic() - self._asked_at < self._pace.ask_s:
            return False
        answers = self._task.service.is_ready()
        if answers or not self._task.can_be_judged():
            self._heard_at = time.monotonic()
        self.has_answered = self.has_answered or answers
        self.is_silent = self.has_answered and not answers
        self._asked_at = time.monotonic()
        return True

    @property
    def limit_s(self) -> float:
        """How long it may be silent."""
        return self._pace.silence_s + (0 if self.has_answered else self._task.service.start_limit_s)

    def is_over(self) -> bool:
        """Whether it was silent for too long."""
        return time.monotonic() - self._heard_at >= self.limit_s

    def has_lasted(self) -> bool:
        """Whether it has answered, and been well for a while."""
        well_until = self._heard_at if self.is_silent else time.monotonic()
        return self.has_answered and well_until - self._started_at >= self._pace.steady_s


class Keeper(threading.Thread):
    """Keeps one service running until told to stop; the service itself is not stopped then."""

    def __init__(self, task: Task, registry: Registry, board: Board, stop: threading.Event, pace: RestartPace) -> None:
        super().__init__(name=task.service.name)
        self._task, self._service = task, task.service
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
            run = self._watch(failures)
            if run is None:
                return
            failures = 1 if run.has_lasted else failures + 1
            if not self._back_off(failures, run.ending):
                return

    def _hold(self) -> None:
        while (reason := self._task.waits_for()) and not self._stop_asked.wait(self._pace.poll_s):
            self._board.say(self.name, ServiceState.HELD, note=f"waits for {reason}")

    def _watch(self, failures: int) -> _Run | None:
        """How the run went, once the process has ended or was ended since it did not answer; None when we have to."""
        health, ending = _Health(self._task, self._pace), ""
        while self._registry.is_alive(self.name) and not ending:
            was_new, was_silent = not health.has_answered, health.is_silent
            if health.ask() and self._registry.is_alive(self.name):
                self._say_heard(health, failures, was_new=was_new, was_silent=was_silent)
            if failures and health.has_lasted() and not health.is_silent:
                failures = 0
                self._board.say(self.name, ServiceState.RUNNING, failures=0)
            self._limit_log()
            if health.is_over():
                ending = f"it did not answer for {health.limit_s:.0f} s and was ended"
                self._registry.stop([self.name], self._pace.frozen_stop_s)
            elif self._stop_asked.wait(self._pace.poll_s):
                return None
        if self._stop_asked.is_set():
            return None
        return _Run(health.has_lasted(), ending or self._ending())

    def _say_heard(self, health: _Health, failures: int, *, was_new: bool, was_silent: bool) -> None:
        """Say what has changed: it answers for the first time, no longer, or again."""
        if health.has_answered and was_new:
            self._board.say(self.name, ServiceState.RUNNING, failures=failures)
            logger.info("%s: answers", self.name)
        elif health.is_silent and not was_silent:
            since = time.strftime("%H:%M:%S")
            note = f"has not answered since {since}; started again after {health.limit_s:.0f} s of it"
            self._board.say(self.name, ServiceState.RUNNING, failures=failures, note=note)
            logger.warning("%s: %s", self.name, note)
        elif was_silent and not health.is_silent:
            self._board.say(self.name, ServiceState.RUNNING, failures=failures)
            logger.info("%s: answers again", self.name)

    def _back_off(self, failures: int, ending: str) -> bool:
        """Wait before the next start; False when there is to be none."""
        delay = self._pace.delay_s(failures)
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
