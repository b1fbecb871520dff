"""Airflow's access to a pod, but that the lines of its log come to us, each once, and that a stopped or lost one ends.

In: the API of Kubernetes. Out: the pod as it is now, its log line by line, or why there is nothing more to follow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow.providers.cncf.kubernetes.utils.pod_manager import PodManager
from airflow.sdk.exceptions import AirflowException
from kubernetes import client as k8s_client
from kubernetes.client import models as k8s

from sniffer_airflow.executors.log_position import LogPosition
from sniffer_airflow.executors.lost_pods import LostPods, PodGone
from sniffer_airflow.executors.owner import Owner

_NOT_FOUND, _CONFLICT = 404, 409


class FollowedPods(PodManager):
    """Follows the pod of one task."""

    def __init__(
        self,
        client: k8s_client.CoreV1Api,
        callbacks: Any,
        take_line: Callable[[str], None],
        stopped: Callable[[], str],
        positions: dict[tuple[str, str], LogPosition],
    ) -> None:
        super().__init__(kube_client=client, callbacks=callbacks)
        self._take_line = take_line
        self._stopped = stopped
        self._positions = positions
        self._lost = LostPods()
        self._is_gone = False
        self.last_seen: k8s.V1Pod | None = None

    def read_pod(self, pod: k8s.V1Pod) -> k8s.V1Pod:
        """The pod now; raises PodLost when it, or its node, is lost: once, since the clean-up asks as well.

        Raises AirflowException once the task was stopped, since its pod may be seen for long after.
        """
        if reason := self._stopped():
            raise AirflowException(reason)
        try:
            found = super().read_pod(pod)
        except k8s_client.ApiException as error:
            if error.status != _NOT_FOUND or self._is_gone:
                raise
            self._is_gone = True
            raise PodGone(pod.metadata.name) from error
        self.last_seen = found
        self._lost.check(found)
        return found

    def run_pod_async(self, pod: k8s.V1Pod, **kwargs: Any) -> k8s.V1Pod:
        """Start the pod. One that is there already was started by a request whose answer was lost."""
        try:
            return super().run_pod_async(pod, **kwargs)
        except k8s_client.ApiException as error:
            if error.status != _CONFLICT:
                raise
            found = super().read_pod(pod)
            if Owner.read(found) != Owner.read(pod):
                raise
            self.log.info("Pod %s was started by a request whose answer was lost", pod.metadata.name)
            return found

    def read_pod_logs(self, pod: k8s.V1Pod, container_name: str, *args: Any, **kwargs: Any) -> Any:
        """The lines of the log that were not read before."""
        position = self._positions.setdefault((pod.metadata.name, container_name), LogPosition())
        return position.unread(super().read_pod_logs(pod, container_name, *args, **kwargs))

    def _log_message(self, message: str, *_: Any) -> None:
        for line in message.splitlines():
            self._take_line(line)
