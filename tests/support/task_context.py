"""What Airflow gives to the task that it runs, as far as our operators ask for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from airflow.sdk import Context

from sniffer_airflow.executors.owner import Owner


class TaskStateStore:
    """The task's state store, in memory."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def set(self, key: str, value: Any) -> None:
        self.values[key] = value

    def get(self, key: str) -> Any:
        return self.values.get(key)


@dataclass
class TaskInstance:
    """What operators ask of a task instance: who it is, and what Airflow knows of others."""

    dag_id: str = "scan_bucket"
    run_id: str = "night"
    task_id: str = "scan"
    map_index: int = -1
    try_number: int = 1
    states: dict[str, str] = field(default_factory=dict)
    """Of tasks of its run, by name."""
    results: dict[str, Any] = field(default_factory=dict)
    """What they have handed on."""
    pushed: dict[str, Any] = field(default_factory=dict)
    run_states: dict[str, str] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any, **_: object) -> None:
        self.pushed[key] = value

    def xcom_pull(self, *, task_ids: str) -> Any:
        return self.results.get(task_ids)

    def get_task_states(
        self, dag_id: str, *, task_ids: Sequence[str], run_ids: Sequence[str]
    ) -> Mapping[str, Mapping[str, str]]:
        found = {name: state for name, state in self.states.items() if name.rpartition("_")[0] in task_ids}
        found |= {name: self.states[name] for name in task_ids if name in self.states}
        return dict.fromkeys(run_ids, found)

    def get_dr_count(self, dag_id: str, *, run_ids: Sequence[str], states: Sequence[str]) -> int:
        return sum(self.run_states.get(run_id) in states for run_id in run_ids)

    def owner(self) -> Owner:
        return Owner(self.dag_id, self.run_id, self.task_id, self.map_index)


def task_context(ti: TaskInstance | None = None, store: Any = None) -> Context:
    """The context of that task."""
    ti = ti or TaskInstance()
    context: Any = {
        "ti": ti,
        "run_id": ti.run_id,
        "dag": None,
        "task_state_store": TaskStateStore() if store is None else store,
    }
    return cast(Context, context)
