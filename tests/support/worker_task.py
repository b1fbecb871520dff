"""A worker's process with one task, as Airflow runs it, to be killed: the real operator, for one shard.

In: a JSON file. Out: `ended.json` beside it, which says how the task ended. SIGTERM is what Airflow sends to a task
that was marked or cleared, SIGALRM is the end of its time.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from support.task_context import TaskInstance, TaskStateStore, task_context


class KeptStore(TaskStateStore):
    """The task's state store, which outlives its worker."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self.values = json.loads(path.read_text()) if path.exists() else {}

    def set(self, key: str, value: Any) -> None:
        super().set(key, value)
        self._path.write_text(json.dumps(self.values))


def main(path: Path) -> int:
    from airflow.sdk.exceptions import AirflowTaskTimeout
    from airflow.sdk.execution_time.timeout import TimeoutPosix

    asked = json.loads(path.read_text())
    operator = _operator(asked)
    signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
    instance = TaskInstance(map_index=asked["map_index"], try_number=asked["try_number"])
    context = task_context(instance, KeptStore(path.with_name("store.json")))
    ended: dict[str, Any]
    try:
        with TimeoutPosix(600):  # type: ignore[no-untyped-call]
            ended = {"state": "success", "result": operator.execute(context)}
    except AirflowTaskTimeout:
        operator.on_kill()
        ended = {"state": "AirflowTaskTimeout"}
    except Exception as error:  # noqa: BLE001 - as Airflow's task runner
        ended = {"state": type(error).__name__, "text": str(error)}
    part = path.with_name("ended.part")
    part.write_text(json.dumps(ended))
    part.rename(path.with_name("ended.json"))
    return 0


def _operator(asked: dict[str, Any]) -> Any:
    words = {"task_id": "scan", "module": "sniffer.scan", "arguments": asked["words"]}
    if not asked["cluster"]:
        from sniffer_airflow.executors.program import ProgramOperator

        return ProgramOperator(**words, aws=False, mysql=False, serving=False)
    from kubernetes import client

    from sniffer_airflow.executors.pod import PodProgramOperator

    class Hook:
        core_v1_client = client.CoreV1Api(client.ApiClient(client.Configuration(host=asked["cluster"])))
        is_in_cluster = True

        def __getattr__(self, name: str) -> Any:
            return lambda: None

    PodProgramOperator.hook = Hook()  # type: ignore[assignment]
    made = PodProgramOperator(**words)
    made.startup_check_interval_seconds = 1
    return made


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="airflow-home-") as home:
        os.environ["AIRFLOW_HOME"] = home
        os.environ["AIRFLOW_VAR_SNIFFER_AIRFLOW_ID"] = "of-the-tests"
        sys.exit(main(Path(sys.argv[1])))
