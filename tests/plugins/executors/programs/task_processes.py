"""What Airflow's task runner does around an operator (SIGTERM handler, time-out), in processes to be killed.

In: a folder with a file of arguments per task, `NAME.arguments`. Out: `NAME.pid`, and at its end `NAME.output` and
`NAME.status`. They are forked here, as Airflow forks its tasks, because importing Airflow takes seconds.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowTaskTimeout
from airflow.sdk.execution_time.timeout import TimeoutPosix
from support.task_context import task_context

from sniffer_airflow.executors.program import ProgramOperator


class NoStore:
    def set(self, key: str, value: Any) -> None: ...


def main(folder: Path) -> None:
    tasks: dict[int, Path] = {}
    for path in folder.glob("*.arguments"):
        pid = os.fork()
        if pid == 0:
            os._exit(run_task(json.loads(path.read_text()), path.with_suffix(".output")))
        tasks[pid] = path
        write(path.with_suffix(".pid"), str(pid))
    while tasks:
        pid, status = os.wait()
        write(tasks.pop(pid).with_suffix(".status"), str(os.waitstatus_to_exitcode(status)))


def run_task(arguments: list[str], output: Path) -> int:
    operator = ProgramOperator(
        task_id="program", module="pretend", arguments=arguments, aws=False, mysql=False, serving=False
    )
    signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
    try:
        with TimeoutPosix(600):  # type: ignore[no-untyped-call] # the test sends SIGALRM when it wants the time to be up
            operator.execute(task_context(store=NoStore()))
    except AirflowTaskTimeout:
        operator.on_kill()
        output.write_text("timed out")
        return 3
    except AirflowException as error:
        output.write_text(f"{type(error).__name__}: {error}")
        return 1
    return 0


def write(path: Path, text: str) -> None:
    path.with_suffix(".part").write_text(text)
    path.with_suffix(".part").rename(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
