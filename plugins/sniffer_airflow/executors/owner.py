"""Which task a program works for: what its pod carries, and what its result is marked with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow.sdk import Context

_DAG, _RUN, _TASK, _INDEX = "sniffer/dag-id", "sniffer/run-id", "sniffer/task-id", "sniffer/map-index"
_UNMAPPED = -1


@dataclass(frozen=True, slots=True)
class Owner:
    """The task that a program works for, in whichever of its tries; of a mapped one, which of its instances."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = _UNMAPPED

    @classmethod
    def of(cls, context: Context) -> Owner:
        """The task that is running."""
        ti = context["ti"]
        return cls(ti.dag_id, context["run_id"], ti.task_id, _UNMAPPED if ti.map_index is None else ti.map_index)

    @classmethod
    def read(cls, pod: Any) -> Owner | None:
        """The owner that the pod names; None when it names none, as pods of other programs."""
        notes: Mapping[str, str] = pod.metadata.annotations or {}
        dag_id, run_id, task_id = (notes.get(name) for name in (_DAG, _RUN, _TASK))
        if not (dag_id and run_id and task_id):
            return None
        index = notes.get(_INDEX, "")
        return cls(dag_id, run_id, task_id, int(index) if re.fullmatch(r"[0-9]{1,9}", index) else _UNMAPPED)

    @property
    def annotations(self) -> dict[str, str]:
        """What its pods carry."""
        notes = {_DAG: self.dag_id, _RUN: self.run_id, _TASK: self.task_id}
        return notes if self.map_index < 0 else notes | {_INDEX: str(self.map_index)}

    @property
    def name(self) -> str:
        """The task's name among the states that Airflow tells."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}_{self.map_index}"

    def __str__(self) -> str:
        return f"{self.dag_id}/{self.run_id}/{self.name}"
