"""A task's process ends when the process of Airflow's that watches over it is gone; its work is the next try's.

Airflow starts a try in a process of its own, below one that reports its heartbeat and stops it. When only the latter
dies (SIGKILL of an executor's worker, or of the scheduler with LocalExecutor's workers), Airflow counts the try as lost
and starts another one, while the process of the first works on and nothing can reach it any more.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys

_TASK_RUNNER = "airflow.sdk.execution_time.task_runner"
_PR_SET_PDEATHSIG = 1


def end_when_unwatched() -> None:
    """From now on the kernel kills this process when its watcher is gone; nothing where none watches.

    SIGKILL, as when the machine is gone: what would still run (handlers, clean-ups) reports to nobody, and would take
    from the next try the pod that it follows. A program on this machine ends with us, by its own supervisor.
    """
    # `DAG.test()` runs tasks in the caller's process, whose parent may well end before it.
    comms = getattr(sys.modules.get(_TASK_RUNNER), "SUPERVISOR_COMMS", None)
    line = getattr(comms, "socket", None)
    if line is not None and sys.platform == "linux":
        end_with(os.getppid())
        # It may have died before that: our parent is another one then, which lives.
        if _is_closed(line):
            os.kill(os.getpid(), signal.SIGKILL)


def _is_closed(ours: socket.socket) -> bool:
    """Whether nobody is at the other end any more. Takes nothing out of it."""
    try:
        return not ours.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def end_with(parent_pid: int) -> None:
    """Have the kernel kill this process when that one, its parent, dies; at once when it is dead already.

    To be exact when the thread ends that has forked us, which for Airflow's watcher is the one that waits for our end.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({_PR_SET_PDEATHSIG})")
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGKILL)
