"""Pods that have outlived their task: when a worker dies, or a run is marked failed, nobody may be left to end them.

Each pod carries who it works for; whoever starts the next pod asks Airflow about the others' owners, and deletes those
whose run or task is over.
"""

from __future__ import annotations

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

_DAG, _RUN, _TASK = "sniffer/dag-id", "sniffer/run-id", "sniffer/task-id"
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
    """The task that a pod works for."""

    dag_id: str
    run_id: str
    task_id: str

    @classmethod
    def of(cls, context: Context) -> Owner:
        """The task that is running."""
        return cls(context["ti"].dag_id, context["run_id"], context["ti"].task_id)

    @classmethod
    def read(cls, pod: k8s_client.V1Pod) -> Owner | None:
        """The owner that the pod names; None when it names none, as pods of other programs."""
        notes = pod.metadata.annotations or {}
        dag_id, run_id, task_id = (notes.get(name) for name in (_DAG, _RUN, _TASK))
        return cls(dag_id, run_id, task_id) if dag_id and run_id and task_id else None

    @property
    def annotations(self) -> dict[str, str]:
        """What its pods carry."""
        return {_DAG: self.dag_id, _RUN: self.run_id, _TASK: self.task_id}

    def is_over(self, states: States) -> bool:
        """Whether its run or itself has come to an end. A run that this Airflow does not know is not ours to judge."""
        if states.get_dr_count(self.dag_id, run_ids=[self.run_id], states=_ENDED_RUNS):
            return True
        found = states.get_task_states(self.dag_id, task_ids=[self.task_id], run_ids=[self.run_id])
        return found.get(self.run_id, {}).get(self.task_id) in _ENDED_TASKS


def remove_orphans(api: k8s_client.CoreV1Api, namespace: str, states: States, log: Any) -> None:
    """Delete the pods in the namespace whose task is over. What fails here is logged: the task itself goes on."""
    try:
        for pod in api.list_namespaced_pod(namespace, label_selector=_SELECTOR).items:
            owner = Owner.read(pod)
            if owner is None or pod.metadata.deletion_timestamp is not None or not owner.is_over(states):
                continue
            name = pod.metadata.name
            log.warning("Deleting pod %s: task %s of run %s is over", name, owner.task_id, owner.run_id)
            api.delete_namespaced_pod(name, namespace)
    except k8s_client.ApiException as error:
        log.warning("Pods that have outlived their task cannot be deleted: %s %s", error.status, error.reason)
    except HTTPError as error:
        log.warning("Pods that have outlived their task cannot be looked for: %s", one_line(error))
    except AirflowRuntimeError as error:
        log.warning("Airflow does not say which pods have outlived their task: %s", error)
