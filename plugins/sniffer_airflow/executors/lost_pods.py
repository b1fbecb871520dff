"""Tells from what Kubernetes says of a pod that it or its node is lost, or why it does not start.

A lost node's pod is shown for ever as it was last seen: nobody is left to say that it has ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from airflow.sdk.exceptions import AirflowException

LOST_AFTER_S = 120.0
"""Beyond its grace: a kubelet that lives has ended a deleted pod by then. And for a pod in the phase Unknown."""

_GRACE_S = 30.0
_DISRUPTED = "DisruptionTarget"
_TAKEN_AWAY = frozenset({"Evicted", "Preempting", "Terminated", "NodeShutdown", "NodeLost", "Shutdown"})
"""Reasons of a pod's status that tell of its node, in the releases that know no such condition."""
_UNKNOWN, _NODE_LOST, _PENDING = "Unknown", "NodeLost", "Pending"


class PodLost(AirflowException):
    """Nothing more will be heard of the pod. A retry starts another one."""


class PodGone(PodLost):
    """The pod is not there any more, though its task has not deleted it."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"pod {name} is gone: its node was taken away, as a spot node is, or somebody has deleted it. What it has "
            "stored counts; another one does what is left"
        )


class LostPods:
    """Follows one pod from one look to the next."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._doubted_at: float | None = None
        self._is_told = False

    def check(self, pod: Any) -> None:
        """Raise PodLost when its node does not answer: it says so, or has not ended the pod long after it had to.

        Only once: the clean-up that follows looks at the pod, too.
        """
        if self._is_told:
            return
        status, why = pod.status, _doubt(pod)
        if why is None:
            self._doubted_at = None
            return
        now = self._clock()
        self._doubted_at = now if self._doubted_at is None else self._doubted_at
        if status.reason == _NODE_LOST or now - self._doubted_at >= _patience_s(pod):
            self._is_told = True
            raise PodLost(
                f"pod {pod.metadata.name} on the node {pod.spec.node_name or 'unknown'} is lost: {why}. A retry starts "
                f"another pod; see `kubectl describe pod {pod.metadata.name}`, and when the node is gone for good, "
                "delete it, so that its pods go too"
            )


def why_taken_away(pod: Any) -> str | None:
    """Why Kubernetes, and not its task, has ended the pod; None when it has not.

    By the condition that evictions, pre-emptions and lost nodes leave, or since it is being deleted.
    """
    status, name = pod.status, pod.metadata.name
    for condition in (status and status.conditions) or ():
        if condition.type == _DISRUPTED and condition.status == "True":
            return f"pod {name} was taken away: {condition.reason}: {condition.message or 'no further word'}"
    if status is not None and status.reason in _TAKEN_AWAY:
        return f"pod {name} was taken away: {status.reason}: {status.message or 'no further word'}"
    if pod.metadata.deletion_timestamp is not None:
        return f"pod {name} was deleted while it ran"
    return None


def why_pending(pod: Any) -> str | None:
    """Why the pod has not started, such as a volume or a node that does not come; None when it has, or nobody says."""
    if pod is None or pod.status is None or pod.status.phase != _PENDING:
        return None
    for condition in pod.status.conditions or ():
        if condition.type == "PodScheduled" and condition.status == "False":
            return str(condition.message or condition.reason)
    for container in (*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ())):
        waiting = container.state.waiting if container.state else None
        if waiting is not None:
            return f"container {container.name}: {waiting.message or waiting.reason}"
    return None


def _doubt(pod: Any) -> str | None:
    """Why the pod may be lost; None when there is no doubt of it."""
    status = pod.status
    if status.phase in ("Succeeded", "Failed"):
        return None
    if status.reason == _NODE_LOST or status.phase == _UNKNOWN:
        return str(status.message or status.reason or "its state is not known")
    if pod.metadata.deletion_timestamp is not None:
        return f"it was to end by {pod.metadata.deletion_timestamp:%Y-%m-%d %H:%M:%S} UTC, and its node does not say so"
    return None


def _patience_s(pod: Any) -> float:
    if pod.metadata.deletion_timestamp is None:
        return LOST_AFTER_S
    grace = pod.metadata.deletion_grace_period_seconds
    return LOST_AFTER_S + (_GRACE_S if grace is None else float(grace))
