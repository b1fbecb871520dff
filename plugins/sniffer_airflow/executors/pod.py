"""The operator that runs one of our programs as a pod: the templates of k8s/pods, with the images that Kustomize names.

Loaded only where programs run in pods: the Kubernetes client takes seconds to import.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from airflow.providers.cncf.kubernetes.kubernetes_helper_functions import PodLaunchFailedException
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from airflow.providers.cncf.kubernetes.utils.pod_manager import PodLaunchTimeoutException, PodManager
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from kubernetes import client as k8s_client
from kubernetes.client import models as k8s

from sniffer.core.errors import SettingsError
from sniffer.core.text import one_line
from sniffer.core.variables import DATABASE_URL
from sniffer_airflow.executors.failures import failure
from sniffer_airflow.executors.handed_on import handed_on
from sniffer_airflow.executors.hours import wait_for_hours
from sniffer_airflow.executors.log_position import LogPosition
from sniffer_airflow.executors.lost_pods import LostPods, PodLost, why_pending
from sniffer_airflow.executors.orphans import Owner, remove_orphans
from sniffer_airflow.executors.patient_client import PatientClient
from sniffer_airflow.executors.program import RESULT_FLAG, words_of
from sniffer_airflow.executors.program_log import LOG_ENVIRON, LineReader, ProgramLog
from sniffer_airflow.executors.turns import wait_for_turn

TEMPLATES_VARIABLE = "SNIFFER_POD_TEMPLATES"
"""A folder laid out as k8s/, with templates in pods/ and images in components/images/, in the place of our own."""

GPU_VARIABLE = "SNIFFER_TRAINER_GPU"
"""`1`: trainings ask for a GPU."""

_SHIPPED = Path(__file__).with_name("k8s")
"""In a wheel, which holds a copy."""
_IN_CHECKOUT = Path(__file__).parents[3] / "k8s"

_TRAINER = "sniffer_model"
_TEMPLATES = {"sniffer": "fleet", _TRAINER: "trainer", "sniffer_rollout": "rollout"}
_RESULT_FILE = "/airflow/xcom/return.json"
_SIDECAR = "airflow-xcom-sidecar"
_SIDECAR_COMMAND = ["sh", "-c", 'trap "exit 0" INT TERM; while true; do sleep 1; done;']
"""Airflow's own hears SIGINT alone: it would hold each pod that is deleted for its whole grace."""

_START_LIMIT_S = 1800
"""A pod may wait for a node, and the node for an image of gigabytes."""
_LONGEST_S = 7 * 24 * 3600
"""How long a pod may run when neither its template nor its task says so."""


class _Pods(PodManager):
    """Airflow's, but that the lines of a pod's log go where we want them, each once, and that a stopped task ends."""

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
        self.last_seen: k8s.V1Pod | None = None

    def read_pod(self, pod: k8s.V1Pod) -> k8s.V1Pod:
        """The pod now; raises PodLost when its node is lost.

        Raises AirflowException once the task was stopped, since its pod may be seen for long after.
        """
        if reason := self._stopped():
            raise AirflowException(reason)
        found = super().read_pod(pod)
        self.last_seen = found
        self._lost.check(found)
        return found

    def read_pod_logs(self, pod: k8s.V1Pod, container_name: str, *args: Any, **kwargs: Any) -> Any:
        """The lines of the log that were not read before."""
        position = self._positions.setdefault((pod.metadata.name, container_name), LogPosition())
        return position.unread(super().read_pod_logs(pod, container_name, *args, **kwargs))

    def _log_message(self, message: str, *_: Any) -> None:
        for line in message.splitlines():
            self._take_line(line)


class PodProgramOperator(KubernetesPodOperator):
    """Runs `python -m MODULE ARGUMENTS` in a pod of its own; returns its JSON result, as handed_on() says.

    Exit status 2 (wrong usage or settings) fails the task for good, any other but 0 is retried as the DAG says. A retry
    after the worker was lost finds the pod that still runs. Settings and secrets are those of the pod's template. What
    the program logs is in the task's log with its level; the exception is its last error.

    No pod outlives its run: it has a deadline, that of its template, else the task's `execution_timeout`, else a week;
    and whoever starts a pod deletes those of tasks that are over.
    """

    template_fields: Sequence[str] = (*KubernetesPodOperator.template_fields, "more_arguments", "at_a_time", "hours")

    def __init__(
        self,
        *,
        module: str,
        arguments: Sequence[str] | str = (),
        mysql: bool = True,
        more_arguments: Sequence[str] | str = (),
        words: Sequence[str] = (),
        title: str = "",
        at_a_time: str = "",
        hours: str = "",
        leave_out: Collection[str] = (),
        only: str = "",
        again_if: str = "",
        **kwargs: Any,
    ) -> None:
        package = module.partition(".")[0]
        super().__init__(
            pod_template_dict=pod_template(package, mysql=mysql),
            full_pod_spec=_gpu_changes() if package == _TRAINER and os.environ.get(GPU_VARIABLE) == "1" else None,
            cmds=["python", "-m", module],
            arguments=arguments,  # type: ignore[arg-type]  # a template's text is made into words below
            do_xcom_push=True,
            startup_timeout_seconds=_START_LIMIT_S,
            schedule_timeout_seconds=_START_LIMIT_S,
            log_pod_spec_on_failure=False,
            log_events_on_failure=True,
            xcom_sidecar_container_security_context=k8s.V1SecurityContext(
                allow_privilege_escalation=False, capabilities=k8s.V1Capabilities(drop=["ALL"])
            ),
            **kwargs,
        )
        self.module = module
        self.more_arguments = more_arguments
        self.words = tuple(words)
        self.title = title
        self.at_a_time = at_a_time
        self.hours = hours
        self.leave_out = tuple(leave_out)
        self.only = only
        self.again_if = again_if

    @cached_property
    def _written(self) -> ProgramLog:
        return ProgramLog(self.log)

    @cached_property
    def _reader(self) -> LineReader:
        # Our programs' own lines are JSON. What else is in a pod's log came by either stream: nobody can tell which.
        return LineReader(logging.WARNING)

    @cached_property
    def _positions(self) -> dict[tuple[str, str], LogPosition]:
        return {}

    @cached_property
    def client(self) -> k8s_client.CoreV1Api:
        """The access to Kubernetes."""
        return k8s_client.CoreV1Api(PatientClient(super().client.api_client))

    @cached_property
    def pod_manager(self) -> _Pods:
        """The access to the pod, which hands its log over to us; a new one goes on where the last one stopped."""
        return _Pods(self.client, self.callbacks, self._take_line, self._stopped, self._positions)

    def _take_line(self, line: str) -> None:
        self._written.write(self._reader.read(line))

    def _stopped(self) -> str:
        return f"{self.module} was stopped by Airflow" if self._killed else ""

    def execute(self, context: Context) -> Any:
        """Run the pod to its end; see the class."""
        until = wait_for_hours(self.hours, self.log)
        wait_for_turn(context, self.at_a_time, self.log)
        self.words = (*self.words, *until)
        try:
            result = super().execute(context)
        except Exception as error:
            if reason := self._stopped():
                raise AirflowException(reason) from None
            if never_ran := self._never_ran(error):
                raise AirflowException(never_ran) from None
            raise
        if not isinstance(result, dict):
            raise AirflowFailException(f"{self.module} succeeded but wrote no JSON object to its {RESULT_FLAG} file")
        return handed_on(result, self.log, leave_out=self.leave_out, only=self.only, again_if=self.again_if)

    def _never_ran(self, error: BaseException) -> str | None:
        """What the clean-up's error hides: that the pod was lost, or why it has not started. None for any other."""
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, PodLost):
                return str(cause)
            if isinstance(cause, PodLaunchTimeoutException | PodLaunchFailedException):
                pod, said = self.pod_manager.last_seen, one_line(cause)
                return f"{said} It waits for this: {why}" if (why := why_pending(pod)) else said
            cause = cause.__context__
        return None

    def build_pod_request_obj(self, context: Context | None = None, *, dry_run: bool = False) -> k8s.V1Pod:
        """The pod, with the flag for the result; Airflow's side-car runs our own image, so that no other is needed."""
        self.arguments = [*words_of(self.arguments), *words_of(self.more_arguments), *self.words]
        self.more_arguments = self.words = ()
        pod = super().build_pod_request_obj(context, dry_run=dry_run)
        [base] = [container for container in pod.spec.containers if container.name == self.base_container_name]
        base.args = [*(base.args or ()), f"{RESULT_FLAG}={_RESULT_FILE}"]
        base.env = [*(base.env or ()), *(k8s.V1EnvVar(name=name, value=value) for name, value in LOG_ENVIRON.items())]
        for container in pod.spec.containers:
            if container.name == _SIDECAR:
                container.image, container.command = base.image, _SIDECAR_COMMAND
        if pod.spec.active_deadline_seconds is None:
            limit = self.execution_timeout
            pod.spec.active_deadline_seconds = int(limit.total_seconds()) if limit else _LONGEST_S
        if context is not None:
            pod.metadata.annotations = {**(pod.metadata.annotations or {}), **Owner.of(context).annotations}
        return pod

    def get_or_create_pod(self, pod_request_obj: k8s.V1Pod, context: Context) -> k8s.V1Pod:
        """The pod of this task, started or found again; those of tasks that are over are deleted first."""
        remove_orphans(self.client, pod_request_obj.metadata.namespace, context["ti"], self.log)
        return super().get_or_create_pod(pod_request_obj, context)

    def cleanup(
        self, pod: k8s.V1Pod, remote_pod: k8s.V1Pod, xcom_result: Any = None, context: Context | None = None
    ) -> None:
        """Delete the pod; the exception says why it failed, and whether a retry would help."""
        self._written.write(self._reader.flush())
        if remote_pod is not None and remote_pod.status is not None and remote_pod.status.reason:
            self.log.warning("Kubernetes ended the pod: %s: %s", remote_pod.status.reason, remote_pod.status.message)
        try:
            super().cleanup(pod, remote_pod, xcom_result, context)
        except AirflowSkipException:
            raise
        except AirflowException as error:
            if status := _exit_status(remote_pod, self.base_container_name):
                self.log.info("%s", error)
                raise failure(self.module, status, self._written.reason(), self.log) from None
            raise


def manifests() -> Path:
    """The folder of templates and images: SNIFFER_POD_TEMPLATES, or what we ship. Raises SettingsError without one."""
    chosen = os.environ.get(TEMPLATES_VARIABLE)
    folder = Path(chosen) if chosen else _SHIPPED if _SHIPPED.is_dir() else _IN_CHECKOUT
    if not (folder / "pods").is_dir():
        raise SettingsError(f"no pod templates in {folder}/pods: set {TEMPLATES_VARIABLE} to a folder laid out as k8s/")
    return folder


def pod_template(package: str, *, mysql: bool = True) -> dict[str, Any]:
    """The template for the programs of that package, images as components/images says; MySQL's address if wanted."""
    template: dict[str, Any] = yaml.safe_load((manifests() / "pods" / f"{_TEMPLATES[package]}.yaml").read_text())
    images = _images()
    for container in template["spec"]["containers"]:
        container["image"] = images[container["image"]]
        if not mysql:
            container["env"] = [each for each in container["env"] if each["name"] != DATABASE_URL.name]
    return template


def _gpu_changes() -> k8s.V1Pod:
    """What a training on a GPU changes in its template."""
    return PodGenerator.deserialize_model_dict(yaml.safe_load((manifests() / "pods" / "trainer-gpu.yaml").read_text()))


def _images() -> dict[str, str]:
    """Each image by the name that the manifests use, with registry and tag."""
    listed = yaml.safe_load((manifests() / "components" / "images" / "kustomization.yaml").read_text())["images"]
    return {image["name"]: _reference(image) for image in listed}


def _reference(image: dict[str, str]) -> str:
    name = image.get("newName", image["name"])
    return f"{name}@{image['digest']}" if "digest" in image else f"{name}:{image['newTag']}"


def _exit_status(pod: k8s.V1Pod, container: str) -> int | None:
    """The container's exit status; None while it runs, or when nothing is known of it."""
    statuses = pod.status.container_statuses if pod is not None and pod.status is not None else None
    for status in statuses or ():
        if status.name == container and status.state is not None and status.state.terminated is not None:
            code: int = status.state.terminated.exit_code
            return code
    return None
