"""A task's process ends when the process of Airflow's that watches over it is gone; its work is the next try's.

Airflow starts a try in a process of its own, below one that reports its heartbeat and stops it. When only the latter
dies (SIGKILL of an executor's worker, or of the scheduler with LocalExecutor's workers), Airflow counts the try as lost
and starts another one, while the process of the first works on and nothing can reach it any more.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

_TASK_RUNNER = "airflow.sdk.execution_time.task_runner"
_LOOK_S = 1.0


def end_when_unwatched() -> None:
    """From now on, kill this process within seconds when its watcher is gone; nothing where none watches.

    SIGKILL, as when the machine is gone: what would still run (handlers, clean-ups) reports to nobody, and may take
    from the next try the pod that it follows. A program on this machine ends with us, by its own supervisor.
    """
    # `DAG.test()` runs tasks in the caller's process, whose parent may well end before it.
    comms = getattr(sys.modules.get(_TASK_RUNNER), "SUPERVISOR_COMMS", None)
    if hasattr(comms, "socket"):
        end_with(os.getppid())


def end_with(parent_pid: int) -> None:
    """Kill this process within seconds when that one is not its parent any more."""
    # No parent-death signal of the kernel's: that one comes when the thread ends that has forked us.
    threading.Thread(target=_end_with, args=(parent_pid,), name="end-with-parent", daemon=True).start()


def _end_with(parent_pid: int) -> None:
    while os.getppid() == parent_pid:
        time.sleep(_LOOK_S)
    os.kill(os.getpid(), signal.SIGKILL)
