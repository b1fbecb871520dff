"""The pods that earlier tries of a task have left: one that does what this try would do is followed, others end first.

Two of them at a time would do the work twice, and what is ending hands nothing on any more.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from kubernetes import client as k8s_client

from sniffer_airflow.executors.airflow_id import LABEL
from sniffer_airflow.executors.lost_pods import PodGone, PodLost
from sniffer_airflow.executors.owner import Owner

COMMAND = "sniffer/command"
"""Annotation with the digest of what the pod does."""

Read = Callable[[k8s_client.V1Pod], k8s_client.V1Pod]
"""Looks at a pod: as it is now."""

_LEFT_ALONE = {"metadata": {"labels": {"already_checked": "True"}}}
"""By this label Airflow's operator takes a pod up no more."""
_TERMINAL = ("Succeeded", "Failed")
_NOT_FOUND = 404
_POLL_S = 1.0


def command_digest(container: k8s_client.V1Container) -> str:
    """Of command, arguments and environment of a container."""
    values = k8s_client.ApiClient().sanitize_for_serialization([container.command, container.args, container.env])
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def settle_earlier(
    api: k8s_client.CoreV1Api,
    wanted: k8s_client.V1Pod,
    found: Sequence[k8s_client.V1Pod],
    follow: Callable[[], Read],
    log: Any,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Leave at most one of those pods, which does what `wanted` would, and wait until the others have ended.

    `follow` begins to follow a pod: PodLost ends the wait, since nothing more will be heard of it. Pods of other tasks
    stay as they are.
    """
    mine = [pod for pod in found if Owner.read(pod) == Owner.read(wanted)]
    alike = sorted((pod for pod in mine if _goes_on(pod, wanted)), key=_started_at)
    ending = [pod for pod in mine if pod not in alike[-1:]]
    for pod in ending:
        name, namespace = pod.metadata.name, pod.metadata.namespace
        if pod.metadata.deletion_timestamp is None:
            log.warning("Deleting pod %s of an earlier try: it has ended, or does not do what this one does", name)
            delete_pod(api, name, namespace)
        with suppress(k8s_client.ApiException):  # it is gone already
            api.patch_namespaced_pod(name, namespace, _LEFT_ALONE)
    for pod in ending:
        _await_end(pod, follow(), log, sleep)


def mark_ours(
    unmarked: Sequence[k8s_client.V1Pod], wanted: k8s_client.V1Pod, api: k8s_client.CoreV1Api, log: Any
) -> None:
    """Give those of the same task the id of this Airflow, which an earlier release did not: the operator finds them."""
    ids = {"metadata": {"labels": {LABEL: wanted.metadata.labels[LABEL]}}}
    for pod in unmarked:
        if Owner.read(pod) != Owner.read(wanted):
            continue
        log.info("Pod %s is of an earlier release, and taken for this Airflow's by the names it has", pod.metadata.name)
        try:
            api.patch_namespaced_pod(pod.metadata.name, pod.metadata.namespace, ids)
        except k8s_client.ApiException as error:
            if error.status != _NOT_FOUND:
                raise


def delete_pod(api: k8s_client.CoreV1Api, name: str, namespace: str) -> None:
    """Delete the pod, if it is still there."""
    try:
        api.delete_namespaced_pod(name, namespace)
    except k8s_client.ApiException as error:
        if error.status != _NOT_FOUND:
            raise


def _goes_on(pod: k8s_client.V1Pod, wanted: k8s_client.V1Pod) -> bool:
    if pod.metadata.deletion_timestamp is not None or _has_ended(pod):
        return False
    return bool((pod.metadata.annotations or {}).get(COMMAND) == wanted.metadata.annotations[COMMAND])


def _has_ended(pod: k8s_client.V1Pod) -> bool:
    return pod.status is not None and pod.status.phase in _TERMINAL


def _started_at(pod: k8s_client.V1Pod) -> str:
    return str(pod.metadata.creation_timestamp or "")


def _await_end(pod: k8s_client.V1Pod, read: Read, log: Any, sleep: Callable[[float], None]) -> None:
    log.info("Waiting for the end of pod %s, which an earlier try has left", pod.metadata.name)
    try:
        while not _has_ended(read(pod)):
            sleep(_POLL_S)
    except PodGone:
        return
    except PodLost as lost:
        log.warning("%s", lost)
