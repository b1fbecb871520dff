"""Pods that have outlived their task: when a worker dies, or a run is marked failed, nobody may be left to end them.

Each pod carries who it works for. The sweeper, and whoever starts the next pod, asks Airflow about the others' owners,
and deletes those whose run or task is over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from airflow.sdk.exceptions import AirflowRuntimeError
from kubernetes import client as k8s_client
from urllib3.exceptions import HTTPError

from sniffer.core.text import one_line
from sniffer_airflow.executors.airflow_id import is_ours
from sniffer_airflow.executors.earlier_pods import delete_pod
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


def those_over(owners: Collection[Owner], states: States) -> set[Owner]:
    """Those whose run or itself has come to an end. A run that this Airflow does not know is not ours to judge.

    Two questions for each run, however many of its tasks there are.
    """
    by_run: dict[tuple[str, str], list[Owner]] = defaultdict(list)
    for owner in owners:
        by_run[owner.dag_id, owner.run_id].append(owner)
    over: set[Owner] = set()
    for (dag_id, run_id), of_run in by_run.items():
        if states.get_dr_count(dag_id, run_ids=[run_id], states=_ENDED_RUNS):
            over.update(of_run)
            continue
        tasks = sorted({owner.task_id for owner in of_run})
        found = states.get_task_states(dag_id, task_ids=tasks, run_ids=[run_id]).get(run_id, {})
        over.update(owner for owner in of_run if found.get(owner.name) in _ENDED_TASKS)
    return over


def remove_orphans(api: k8s_client.CoreV1Api, namespace: str, states: States, log: Any, own: str) -> None:
    """Delete the pods in the namespace whose task is over, of the Airflow with the id `own`.

    What fails here is logged: the task itself goes on.
    """
    try:
        pods = [pod for pod in api.list_namespaced_pod(namespace, label_selector=_SELECTOR).items if is_ours(pod, own)]
        owned = [(pod, owner) for pod in pods if (owner := Owner.read(pod)) and pod.metadata.deletion_timestamp is None]
        over = those_over([owner for _, owner in owned], states)
        for pod, owner in owned:
            if owner in over:
                log.warning("Deleting pod %s: task %s of run %s is over", pod.metadata.name, owner.name, owner.run_id)
                delete_pod(api, pod.metadata.name, namespace)
    except k8s_client.ApiException as error:
        log.warning("Pods that have outlived their task cannot be deleted: %s %s", error.status, error.reason)
    except HTTPError as error:
        log.warning("Pods that have outlived their task cannot be looked for: %s", one_line(error))
    except AirflowRuntimeError as error:
        log.warning("Airflow does not say which pods have outlived their task: %s", error)
