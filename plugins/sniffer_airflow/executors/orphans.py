"""Pods that have outlived their task: when a worker dies, or a run is marked failed, nobody may be left to end them.

Each pod carries who it works for; whoever starts the next pod asks Airflow about the others' owners, and deletes those
whose run or task is over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowRuntimeError
from kubernetes import client as k8s_client
from urllib3.exceptions import HTTPError

from sniffer.core.text import one_line

_SELECTOR = "kubernetes_pod_operator=True"
"""A label that Airflow gives to the pods of its operator. Its labels of run and task are shortened: not to be read."""

_DAG, _RUN, _TASK, _INDEX = "sniffer/dag-id", "sniffer/run-id", "sniffer/task-id", "sniffer/map-index"
_UNMAPPED = -1
_ENDED_RUNS = ["success", "failed"]
_ENDED_TASKS = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


class States(Protocol):
    """What a running task can ask Airflow: RuntimeTaskInstance."""

    def get_dr_count(self, dag_id: str, *, run_ids: list[str], states: list[str]) -> int:
        """How many of these runs are in one of these states."""

    def get_task_states(
        self, dag_id: str, *, task_ids: list[str], run_ids: list[str]
    ) -> Mapping[str, Mapping[str, str]]:
        """By run and task, the states of these tasks."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The task that a pod works for; of a mapped one, which of its instances."""

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
    def read(cls, pod: k8s_client.V1Pod) -> Owner | None:
        """The owner that the pod names; None when it names none, as pods of other programs."""
        notes = pod.metadata.annotations or {}
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

    def is_over(self, states: States) -> bool:
        """Whether its run or itself has come to an end. A run that this Airflow does not know is not ours to judge."""
        if states.get_dr_count(self.dag_id, run_ids=[self.run_id], states=_ENDED_RUNS):
            return True
        found = states.get_task_states(self.dag_id, task_ids=[self.task_id], run_ids=[self.run_id])
        return found.get(self.run_id, {}).get(self.name) in _ENDED_TASKS


def remove_orphans(api: k8s_client.CoreV1Api, namespace: str, states: States, log: Any) -> None:
    """Delete the pods in the namespace whose task is over. What fails here is logged: the task itself goes on."""
    try:
        for pod in api.list_namespaced_pod(namespace, label_selector=_SELECTOR).items:
            owner = Owner.read(pod)
            if owner is None or pod.metadata.deletion_timestamp is not None or not owner.is_over(states):
                continue
            name = pod.metadata.name
            log.warning("Deleting pod %s: task %s of run %s is over", name, owner.name, owner.run_id)
            api.delete_namespaced_pod(name, namespace)
    except k8s_client.ApiException as error:
        log.warning("Pods that have outlived their task cannot be deleted: %s %s", error.status, error.reason)
    except HTTPError as error:
        log.warning("Pods that have outlived their task cannot be looked for: %s", one_line(error))
    except AirflowRuntimeError as error:
        log.warning("Airflow does not say which pods have outlived their task: %s", error)
