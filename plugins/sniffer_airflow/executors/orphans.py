"""Pods that have outlived their task: when a worker dies, or a run is marked failed, nobody may be left to end them.

Each pod carries who it works for. The sweeper, and whoever starts the next pod, asks Airflow about the others' owners,
and deletes those whose run or task is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from airflow.sdk.exceptions import AirflowRuntimeError
from kubernetes import client as k8s_client
from urllib3.exceptions import HTTPError

from sniffer.core.text import one_line
from sniffer_airflow.executors.owner import Owner

_SELECTOR = "kubernetes_pod_operator=True"
"""A label that Airflow gives to the pods of its operator. Its labels of run and task are shortened: not to be read."""

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


def is_over(owner: Owner, states: States) -> bool:
    """Whether its run or itself has come to an end. A run that this Airflow does not know is not ours to judge."""
    if states.get_dr_count(owner.dag_id, run_ids=[owner.run_id], states=_ENDED_RUNS):
        return True
    found = states.get_task_states(owner.dag_id, task_ids=[owner.task_id], run_ids=[owner.run_id])
    return found.get(owner.run_id, {}).get(owner.name) in _ENDED_TASKS


def remove_orphans(api: k8s_client.CoreV1Api, namespace: str, states: States, log: Any) -> None:
    """Delete the pods in the namespace whose task is over. What fails here is logged: the task itself goes on."""
    try:
        for pod in api.list_namespaced_pod(namespace, label_selector=_SELECTOR).items:
            owner = Owner.read(pod)
            if owner is None or pod.metadata.deletion_timestamp is not None or not is_over(owner, states):
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
