"""The stack's memory between runs: which port each service has, and which processes are ours. Kept in one JSON file.

A process is known by its id, its start time and the machine's boot, so a number that the system has given to
somebody else since is never signalled.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from sniffer.core.errors import SettingsError
from sniffer_local.processes import Service, answers_on, free_port, launch, wait_until_ready

KILL_AFTER_S = 5.0
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A process that we started. `recipe` is a digest of its command, environment and code."""

    pid: int
    started_ticks: int
    boot: str
    recipe: str
    stop_signal: int = signal.SIGTERM


class Registry:
    """Starts services that outlive us, finds them again, and stops them; `path` holds what must be remembered."""

    def __init__(self, path: Path, chooses_ports: bool = True) -> None:
        self._path = path
        self._chooses_ports = chooses_ports
        self._launched: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.RLock()

    def port(self, name: str) -> int:
        """The service's port: chosen once, and again only when somebody else has taken it meanwhile.

        A registry that chooses none raises SettingsError where there is none yet.
        """
        port: int | None = self._read()["ports"].get(name)
        if not self._chooses_ports:
            if port is None:
                raise SettingsError(f"{name} was never started: run `make demo`")
            return port
        if port is not None and not self.is_alive(name) and answers_on(port):
            self.stop([name], 0)  # what a server that died has left may hold its port
        if port is None or (not self.is_alive(name) and answers_on(port)):
            port = free_port()
            with self._changed() as state:
                state["ports"][name] = port
        return port

    def has_port(self, name: str) -> bool:
        """Whether the service has a port, or can be given one."""
        return self._chooses_ports or name in self._read()["ports"]

    def is_alive(self, name: str) -> bool:
        """Whether the process that we started under this name still runs."""
        record = self._record(name)
        return record is not None and _is_same(record)

    def runs(self, service: Service) -> bool:
        """Whether the service runs, and as asked."""
        record = self._record(service.name)
        return record is not None and _is_same(record) and record.recipe == recipe(service)

    def names(self) -> list[str]:
        """The names under which processes are recorded, latest first, whether they still run or not."""
        return list(reversed(self._read()["processes"]))

    def pid(self, name: str) -> int | None:
        """The id of the process that runs under this name; None without one."""
        record = self._record(name)
        return record.pid if record is not None and _is_same(record) else None

    def ensure(self, service: Service) -> bool:
        """Launch the service unless it runs as asked; one that runs otherwise is replaced. True if launched."""
        if self.runs(service):
            return False
        self.stop([service.name], service.stop_limit_s)
        with self._changed() as state:
            process = launch(service)
            self._launched[service.name] = process
            record = _identify(process.pid, recipe(service), service.stop_signal)
            state["processes"][service.name] = asdict(record)
        return True

    def exit_status(self, name: str) -> int | None:
        """How the process that we launched under this name ended, -n by signal n; None for others' and living ones."""
        process = self._launched.get(name)
        return None if process is None else process.poll()

    def wait(self, service: Service) -> None:
        """Return once the service answers; raises TransientError when it dies or takes too long."""
        wait_until_ready(service, lambda: self.is_alive(service.name))

    def stop(self, names: Sequence[str], limit_s: float = 30.0) -> list[str]:
        """End the processes of these names, side by side, with all that they started. Returns those that ran."""
        return self._stop(names, limit_s, _family)

    def stop_alone(self, name: str, limit_s: float = 30.0) -> bool:
        """End the process of that name and nothing that it started. True if it ran."""
        return bool(self._stop([name], limit_s, _leader))

    def _stop(
        self, names: Sequence[str], limit_s: float, members: Callable[[ProcessRecord], list[psutil.Process]]
    ) -> list[str]:
        records = {name: record for name in names if (record := self._record(name))}
        families = {name: _Family(members(record), record.stop_signal) for name, record in records.items()}
        _end([family for family in families.values() if family.members], limit_s)
        for name in records:
            if name in self._launched:
                self._launched.pop(name).poll()
        with self._changed() as state:
            for name, record in records.items():
                if ProcessRecord(**state["processes"].get(name, asdict(record))) == record:
                    state["processes"].pop(name, None)
        return [name for name, family in families.items() if family.members]

    def _record(self, name: str) -> ProcessRecord | None:
        found = self._read()["processes"].get(name)
        return ProcessRecord(**found) if found else None

    def _read(self) -> dict[str, Any]:
        if not self._path.is_file():
            return {"ports": {}, "processes": {}}
        try:
            state: dict[str, Any] = json.loads(self._path.read_text())
        except ValueError as error:
            raise SettingsError(f"{self._path} is damaged ({error}); end the stack's processes and remove it") from None
        return state

    @contextmanager
    def _changed(self) -> Iterator[dict[str, Any]]:
        """The state, to be changed and then written; one change after the other, whatever process makes it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock, self._path.with_suffix(".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            state = self._read()
            yield state
            draft = self._path.with_suffix(".tmp")
            draft.write_text(json.dumps(state, indent=1))
            draft.replace(self._path)


@dataclass(frozen=True, slots=True)
class _Family:
    """Processes to be ended; the first is asked by the signal."""

    members: list[psutil.Process]
    stop_signal: int


@contextmanager
def only_one(lock: Path, doing: str) -> Iterator[None]:
    """Hold the lock file while the block runs; raises SettingsError at once when another process holds it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(f"{doing} is running in this checkout; wait for it or press Ctrl-C there") from None
        yield


def recipe(service: Service) -> str:
    """A digest of what the service is: its command, its environment, its code."""
    parts = [list(service.command), sorted(service.environ.items())]
    digest = hashlib.sha256(json.dumps(parts).encode())
    for folder in service.code:
        for file in sorted(folder.rglob("*.py")):
            digest.update(f"{file}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _identify(pid: int, recipe: str, stop_signal: int) -> ProcessRecord:
    ticks = _started_ticks(pid)
    if ticks is None:
        raise RuntimeError(f"process {pid} is our child and not reaped, yet has no entry in /proc")
    return ProcessRecord(pid, ticks, _boot(), recipe, int(stop_signal))


def _is_same(record: ProcessRecord) -> bool:
    return record.boot == _boot() and _started_ticks(record.pid) == record.started_ticks and _runs(record.pid)


def _boot() -> str:
    """This boot of this machine or container: a container has the machine's boot id, but its own first process."""
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/{_started_ticks(1)}"


def _started_ticks(pid: int) -> int | None:
    fields = _stat_fields(pid)
    return int(fields[19]) if fields else None


def _runs(pid: int) -> bool:
    fields = _stat_fields(pid)
    return bool(fields) and fields[0] not in ("Z", "X")


def _session(pid: int) -> int | None:
    fields = _stat_fields(pid)
    return int(fields[3]) if fields else None


def _stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on (proc(5): field 3), or none when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def _leader(record: ProcessRecord) -> list[psutil.Process]:
    """The process alone; nothing once it has ended."""
    with suppress(psutil.NoSuchProcess):
        if _is_same(record):
            return [psutil.Process(record.pid)]
    return []


def _family(record: ProcessRecord) -> list[psutil.Process]:
    """The process first, then its descendants and its session, as far as they run; empty once the id is another's.

    A number is not given out again while a session bears it. So the members of a session whose leader has ended
    are ours as long as nobody else has become its leader since.
    """
    if record.boot != _boot():
        return []
    started = _started_ticks(record.pid)
    if started is not None and started != record.started_ticks:
        return []
    members: dict[int, psutil.Process] = {}
    with suppress(psutil.NoSuchProcess):
        leader = psutil.Process(record.pid)
        members = {p.pid: p for p in (leader, *leader.children(recursive=True))}
    for pid in psutil.pids():
        if pid not in members and _session(pid) == record.pid:
            with suppress(psutil.NoSuchProcess):
                members[pid] = psutil.Process(pid)
    return [p for p in members.values() if _runs(p.pid)]


def _end(families: list[_Family], limit_s: float) -> None:
    """Each family's first is asked and gets time to end its own; then SIGTERM to who is left, then SIGKILL."""
    for family in families:
        _signal(family.members[:1], family.stop_signal)
    _left_after([family.members[0] for family in families], limit_s)
    left = _left_after([process for family in families for process in family.members], 0)
    _signal(left, signal.SIGTERM)
    left = _left_after(left, KILL_AFTER_S)
    _signal(left, signal.SIGKILL)
    _left_after(left, KILL_AFTER_S)


def _signal(processes: list[psutil.Process], number: int) -> None:
    # psutil compares start times before it signals.
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _left_after(processes: list[psutil.Process], limit_s: float) -> list[psutil.Process]:
    """Those that still run once all have ended or the time is over."""
    deadline = time.monotonic() + limit_s
    while True:
        left = [p for p in processes if p.is_running() and _runs(p.pid)]
        if not left or time.monotonic() >= deadline:
            return left
        time.sleep(POLL_S)
