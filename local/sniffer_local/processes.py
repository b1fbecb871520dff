"""One server as a process: what a service is, launching it, waiting until it answers, and owning one as a child."""

from __future__ import annotations

import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sniffer.core.errors import TransientError

LOG_TAIL_LINES = 20
ANSWER_LIMIT_S = 5.0
FOREIGN_SETTINGS = ("AIRFLOW_", "AWS_", "SNIFFER_")
"""Variables of the user's that would send a part of the stack somewhere else."""


@dataclass(frozen=True, slots=True)
class Service:
    """How one server is started, found ready, and stopped. `environ` is added to ours, never put in argv."""

    name: str
    command: tuple[str, ...]
    log: Path
    is_ready: Callable[[], bool]
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    start_limit_s: float = 60.0
    stop_limit_s: float = 30.0
    code: tuple[Path, ...] = ()
    """Folders of Python code that the server holds in memory: when they change, it has to be restarted."""
    address: str = ""
    """Where it is reached, for people."""
    user: str | None = None
    """Whom the server runs as, where that is not us."""
    stop_signal: signal.Signals = signal.SIGTERM
    """What asks the server to end cleanly."""
    before_start: Callable[[], None] = lambda: None
    """Clears away what an earlier process has left that would keep this one from starting."""


_PORTS_OF_CLIENTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST_PORT = 10_000
"""Below it are services that people have started."""


def free_port() -> int:
    """A TCP port of the loopback that nobody used a moment ago, and that no client's connection is given meanwhile."""
    lowest_of_clients = int(_PORTS_OF_CLIENTS.read_text().split()[0])
    for port in random.sample(range(_LOWEST_PORT, max(lowest_of_clients, 2 * _LOWEST_PORT)), 1000):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError(f"1,000 ports from {_LOWEST_PORT} up are all in use")


def answers_on(port: int) -> bool:
    """Whether something accepts TCP connections on that port of the loopback."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers_http(port: int, path: str = "/") -> bool:
    """Whether something answers HTTP there, whatever it says: the system accepts connections for a frozen one, too."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_LIMIT_S)
    try:
        connection.request("GET", path)
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def launch(service: Service) -> subprocess.Popen[bytes]:
    """Start the service in a session of its own, output appended to its log, and return without waiting."""
    service.before_start()
    service.log.parent.mkdir(parents=True, exist_ok=True)
    with service.log.open("ab") as log:
        return subprocess.Popen(
            service.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environ(service.environ),
            start_new_session=True,
            **_as_user(service.user),
        )


def wait_until_ready(service: Service, is_alive: Callable[[], bool]) -> None:
    """Return once the service answers; raises TransientError when it dies or takes too long."""
    deadline = time.monotonic() + service.start_limit_s
    while not service.is_ready():
        if not is_alive():
            raise TransientError(f"{service.name} ended while starting. {_ending(service.log)}")
        if time.monotonic() > deadline:
            raise TransientError(
                f"{service.name} did not answer within {service.start_limit_s:.0f} s. {_ending(service.log)}"
            )
        time.sleep(0.1)


def log_tail(log: Path, lines: int = LOG_TAIL_LINES) -> str:
    """The last lines of a log, or an empty text when there is none."""
    if not log.is_file():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def run_checked(
    command: Sequence[str], log: Path, environ: Mapping[str, str] | None = None, user: str | None = None
) -> None:
    """Run a program to its end, output appended to its log; raises TransientError when it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=_environ(environ or {}),
            check=False,
            **_as_user(user),
        )
    if done.returncode != 0:
        raise TransientError(f"{_title(command)} ended with status {done.returncode}. {_ending(log)}")


class Child:
    """A service that lives and dies with its owner, and can be killed and started again meanwhile."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process's id; raises RuntimeError when it was never started or has been stopped."""
        if self._process is None:
            raise RuntimeError(f"{self.service.name} is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is there, ready or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start and wait until ready; does nothing while it runs. A start that fails leaves no process."""
        if self.is_running:
            return
        self._process = launch(self.service)
        try:
            wait_until_ready(self.service, lambda: self.is_running)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Ask the process to end, kill its group when it takes too long, and reap it."""
        if self._process is None:
            return
        self._process.send_signal(self.service.stop_signal)
        try:
            self._process.wait(self.service.stop_limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """SIGKILL to the process and its group, as a crash would have it, and reap it."""
        if self._process is None:
            return
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def restart(self) -> None:
        """Stop cleanly and start again."""
        self.stop()
        self.start()


def _environ(additions: Mapping[str, str]) -> dict[str, str]:
    """Ours without settings of other stacks, our interpreter's programs first on the path, and the additions."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_SETTINGS)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**kept, "PATH": path, **additions}


def _as_user(user: str | None) -> dict[str, Any]:
    """What makes a process another user's: their groups instead of ours, and a working folder that they can enter."""
    return {"user": user, "group": user, "extra_groups": [], "cwd": "/"} if user else {}


def _ending(log: Path) -> str:
    return f"Its log {log} ends:\n{log_tail(log)}"


def _title(command: Sequence[str]) -> str:
    """The program's name for a message: the module of `python -m`, else the file."""
    return command[2] if list(command[1:2]) == ["-m"] else Path(command[0]).name
