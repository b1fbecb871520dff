"""The process between an Airflow task and a program: ends the program with all its descendants when the task goes away.

In: `supervisor.py PARENT_PID GRACE_S COMMAND...`. Out: the command's exit status (128 + n for death by signal n).
Run by path with `python -I -S`, so it imports nothing but the standard library. Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
KILL_PATIENCE_S = 10.0
"""How long SIGKILL is repeated: only a process stuck in the kernel outlasts it."""

WAKING = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}


def main(argv: list[str]) -> int:
    """Run the command until it ends or we are told to stop; no descendant of it is left afterwards."""
    parent_pid, grace_s, command = int(argv[0]), float(argv[1]), argv[2:]
    signal.pthread_sigmask(signal.SIG_BLOCK, WAKING)
    _control(PR_SET_CHILD_SUBREAPER, 1)  # orphans of the program become our children, whatever session they are in
    _control(PR_SET_PDEATHSIG, signal.SIGTERM)  # the kernel tells us even when the task dies by SIGKILL
    if os.getppid() != parent_pid:  # it died before we asked
        return 128 + signal.SIGTERM
    program = subprocess.Popen(command, preexec_fn=_prepare_program)  # noqa: PLW1509 - we have no threads
    status = _wait(program.pid, grace_s)
    _kill_descendants()
    return status


def _prepare_program() -> None:
    _control(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WAKING)


def _control(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def _wait(program_pid: int, grace_s: float) -> int:
    """The program's exit status; a first signal is passed on to it as SIGTERM, and after the grace it is killed."""
    deadline = float("inf")
    while True:
        left_s = deadline - time.monotonic()
        woken = signal.sigtimedwait(WAKING, min(max(left_s, 0.0), 3600.0))
        if (status := _reap(program_pid)) is not None:
            return status
        if woken and woken.si_signo != signal.SIGCHLD and deadline == float("inf"):
            deadline = time.monotonic() + grace_s
            os.kill(program_pid, signal.SIGTERM)
        elif time.monotonic() >= deadline:
            os.kill(program_pid, signal.SIGKILL)
            deadline = time.monotonic() + 0.05


def _reap(program_pid: int) -> int | None:
    """Collect every child that has ended; the program's exit status if it is among them."""
    found = None
    while (ended := _next_ended()) is not None:
        pid, wait_status = ended
        if pid == program_pid:
            code = os.waitstatus_to_exitcode(wait_status)
            found = code if code >= 0 else 128 - code
    return found


def _next_ended() -> tuple[int, int] | None:
    try:
        pid, wait_status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, wait_status) if pid else None


def _kill_descendants() -> None:
    """Kill until no child is left: as their reaper we inherit every orphan, so no children means no descendants."""
    deadline = time.monotonic() + KILL_PATIENCE_S
    while _has_children() and time.monotonic() < deadline:
        for pid in descendants(os.getpid(), _parents()):
            with contextlib.suppress(ProcessLookupError):  # its own parent may have collected it just now
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _has_children() -> bool:
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True


def descendants(root: int, parents: dict[int, int]) -> list[int]:
    """Every process below `root`, given each process's parent."""
    below: set[int] = set()
    level = {root}
    while level:
        level = {pid for pid, parent in parents.items() if parent in level} - below
        below |= level
    return sorted(below)


def _parents() -> dict[int, int]:
    """Parent of every process that /proc shows."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            # "pid (name) state ppid ...": the name may hold spaces and parentheses
            found[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
