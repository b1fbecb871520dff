"""The operator that runs one of our programs as a pod: the templates of k8s/pods, with the images that Kustomize names.

Loaded only where programs run in pods: the Kubernetes client takes seconds to import.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from typing import Any

from airflow.providers.cncf.kubernetes.kubernetes_helper_functions import PodLaunchFailedException
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.utils.pod_manager import PodLaunchTimeoutException
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, AirflowTaskTimeout
from kubernetes import client as k8s_client
from kubernetes.client import models as k8s
from urllib3.exceptions import HTTPError

from sniffer.core.text import one_line
from sniffer_airflow.executors.airflow_id import LABEL, airflow_id, has_no_id, is_ours
from sniffer_airflow.executors.earlier_pods import COMMAND, command_digest, delete_pod, mark_ours, settle_earlier
from sniffer_airflow.executors.failures import failure
from sniffer_airflow.executors.followed_pods import FollowedPods
from sniffer_airflow.executors.handed_on import handed_on
from sniffer_airflow.executors.hours import wait_for_hours
from sniffer_airflow.executors.log_position import LogPosition
from sniffer_airflow.executors.lost_pods import PodLost, why_pending, why_taken_away
from sniffer_airflow.executors.orphans import remove_orphans
from sniffer_airflow.executors.owner import Owner
from sniffer_airflow.executors.patient_client import PatientClient
from sniffer_airflow.executors.program import words_of
from sniffer_airflow.executors.program_log import LOG_ENVIRON, LineReader, ProgramLog
from sniffer_airflow.executors.proof import RESULT_FLAG, mark_of, proved, refuse_unproved
from sniffer_airflow.executors.templates import fit_consumers, pod_changes, pod_template
from sniffer_airflow.executors.turns import start_another, wait_for_turn
from sniffer_airflow.executors.watched import end_when_unwatched

_RESULT_FILE = "/airflow/xcom/return.json"
_SIDECAR = "airflow-xcom-sidecar"
_SIDECAR_COMMAND = ["sh", "-c", 'trap "exit 0" INT TERM; while true; do sleep 1; done;']
"""Airflow's own hears SIGINT alone: it would hold each pod that is deleted for its whole grace."""

_START_LIMIT_S = 1800
"""A pod may wait for a node, and the node for an image of gigabytes."""
_LONGEST_S = 7 * 24 * 3600
"""How long a pod may run when neither its template nor its task says so."""


class PodProgramOperator(KubernetesPodOperator):
    """Runs `python -m MODULE ARGUMENTS` in a pod of its own; returns its JSON result, as handed_on() says.

    Exit status 2 (wrong usage or settings) fails the task for good, any other but 0 is retried as the DAG says. A retry
    after the worker was lost follows the pod that still runs, if it does the same. Another pod in the place of one that
    was taken away, as with a spot node, is no retry. Settings and secrets are those of the pod's template. What the
    program logs is in the task's log with its level; the exception is its last error.

    The pod is deleted however the task ends; sweeper.py deletes that of a task whose worker is gone. It has a deadline
    besides: that of its template, else the task's `execution_timeout`, else a week.
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
            full_pod_spec=pod_changes(package),
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
        self._lost: str | None = None

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
    def pod_manager(self) -> FollowedPods:
        """The access to the pod, which hands its log over to us; a new one goes on where the last one stopped."""
        return self._follow()

    def _follow(self) -> FollowedPods:
        return FollowedPods(self.client, self.callbacks, self._take_line, self._stopped, self._positions)

    def _take_line(self, line: str) -> None:
        self._written.write(self._reader.read(line))

    def _stopped(self) -> str:
        return f"{self.module} was stopped by Airflow" if self._killed else ""

    def execute(self, context: Context) -> Any:
        """Run the pod to its end; see the class."""
        end_when_unwatched()
        refuse_unproved(context, self)
        until = wait_for_hours(self.hours, self.log)
        wait_for_turn(context, self.at_a_time, self.log)
        self.words = (*self.words, *until)
        try:
            result = super().execute(context)
        except BaseException as error:
            self._delete_what_is_left()
            self._raise_in_words(error, context)
            raise
        if reason := self._stopped():
            self._delete_what_is_left()
            raise AirflowException(reason)
        found = proved(result, Owner.of(context), self.module)
        return handed_on(found, self.log, leave_out=self.leave_out, only=self.only, again_if=self.again_if)

    def _raise_in_words(self, error: BaseException, context: Context) -> None:
        """Raise what the task ends with in place of that error; return where it says all there is."""
        for cause in _causes(error):
            if isinstance(cause, AirflowTaskTimeout):  # which the error of the clean-up hides
                raise cause from None
        if not isinstance(error, Exception) or isinstance(error, AirflowFailException | AirflowSkipException):
            return
        if reason := self._stopped():
            raise AirflowException(reason) from None
        lost = next((str(cause) for cause in _causes(error) if isinstance(cause, PodLost)), self._lost)
        if lost is not None:
            start_another(context, lost, self.log)
            raise AirflowException(lost) from None
        if never_started := self._never_started(error):
            raise AirflowException(never_started) from None

    def _delete_what_is_left(self) -> None:
        """Delete the pod again: on_kill may have come before Airflow knew it, and the clean-up does not always come."""
        for pod in filter(None, (self.pod, self.pod_request_obj)):
            try:
                delete_pod(self.client, pod.metadata.name, pod.metadata.namespace)
            except (k8s_client.ApiException, HTTPError) as error:
                self.log.warning("Pod %s cannot be deleted: %s", pod.metadata.name, one_line(error))

    def _never_started(self, error: Exception) -> str | None:
        """Why the pod has not started, which the clean-up's error hides. None for any other error."""
        for cause in _causes(error):
            if isinstance(cause, PodLaunchTimeoutException | PodLaunchFailedException):
                pod, said = self.pod_manager.last_seen, one_line(cause)
                return f"{said} It waits for this: {why}" if (why := why_pending(pod)) else said
        return None

    def build_pod_request_obj(self, context: Context | None = None, *, dry_run: bool = False) -> k8s.V1Pod:
        """The pod, with the flag for the result; Airflow's side-car runs our own image, so that no other is needed."""
        self.arguments = [*words_of(self.arguments), *words_of(self.more_arguments), *self.words]
        self.more_arguments = self.words = ()
        pod = super().build_pod_request_obj(context, dry_run=dry_run)
        [base] = [container for container in pod.spec.containers if container.name == self.base_container_name]
        base.args = [*(base.args or ()), f"{RESULT_FLAG}={_RESULT_FILE}"]
        environ = LOG_ENVIRON | ({} if context is None else mark_of(Owner.of(context)))
        base.env = [*(base.env or ()), *(k8s.V1EnvVar(name=name, value=value) for name, value in environ.items())]
        fit_consumers(base, base.args)
        for container in pod.spec.containers:
            if container.name == _SIDECAR:
                container.image, container.command = base.image, _SIDECAR_COMMAND
        if pod.spec.active_deadline_seconds is None:
            limit = self.execution_timeout
            pod.spec.active_deadline_seconds = int(limit.total_seconds()) if limit else _LONGEST_S
        if context is not None:
            notes = Owner.of(context).annotations | {COMMAND: command_digest(base)}
            pod.metadata.annotations = {**(pod.metadata.annotations or {}), **notes}
            pod.metadata.labels = {**(pod.metadata.labels or {}), LABEL: airflow_id()}
        return pod

    def get_or_create_pod(self, pod_request_obj: k8s.V1Pod, context: Context) -> k8s.V1Pod:
        """The pod of this task, started or found again; those of tasks that are over are deleted first.

        So are those of its earlier tries that do something else, or are ending already.
        """
        namespace = pod_request_obj.metadata.namespace
        own = airflow_id()
        remove_orphans(self.client, namespace, context["ti"], self.log, own)
        selector = super()._build_find_pod_label_selector(context)
        pods = self.client.list_namespaced_pod(namespace, label_selector=selector).items
        found = [pod for pod in pods if is_ours(pod, own)]
        mark_ours([pod for pod in found if has_no_id(pod)], pod_request_obj, self.client, self.log)
        settle_earlier(self.client, pod_request_obj, found, lambda: self._follow().read_pod, self.log)
        if reason := self._stopped():
            raise AirflowException(reason)
        return super().get_or_create_pod(pod_request_obj, context)

    def _build_find_pod_label_selector(self, context: Context | None = None, *, exclude_checked: bool = True) -> str:
        """That of Airflow's operator, and this Airflow's id: another one may have a run and a task of these names."""
        found = super()._build_find_pod_label_selector(context, exclude_checked=exclude_checked)
        return f"{found},{LABEL}={airflow_id()}"

    def _get_pod_from_task_state_store(self, context: Context) -> None:
        """None: Airflow's operator asks for it by a client that waits out nothing. The pod is found by its labels."""

    def cleanup(
        self, pod: k8s.V1Pod, remote_pod: k8s.V1Pod, xcom_result: Any = None, context: Context | None = None
    ) -> None:
        """Delete the pod; the exception says why it failed, and whether a retry would help."""
        self._written.write(self._reader.flush())
        if remote_pod is not None and remote_pod.status is not None and remote_pod.status.reason:
            self.log.warning("Kubernetes ended the pod: %s: %s", remote_pod.status.reason, remote_pod.status.message)
        self._lost = self._lost or self._taken_away(remote_pod)
        try:
            super().cleanup(pod, remote_pod, xcom_result, context)
        except AirflowSkipException:
            raise
        except AirflowException as error:
            if status := _exit_status(remote_pod, self.base_container_name):
                self.log.info("%s", error)
                raise failure(self.module, status, self._written.reason(), self.log) from None
            raise

    def _taken_away(self, pod: k8s.V1Pod) -> str | None:
        """Why the pod ends, if neither it nor we did it; looked at before we delete it."""
        if pod is None or self._stopped():
            return None
        try:
            return why_taken_away(self.pod_manager.read_pod(pod))
        except PodLost as lost:
            return str(lost)
        except (k8s_client.ApiException, AirflowException, HTTPError):
            return None  # that it cannot be asked is told by whoever asks next

    def _push_xcom_with_fan_out(self, ti: Any, value: Any) -> None:
        """Nothing: Airflow's operator hands on the result of a failed program, too. Ours is the proof of its end."""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it came of."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__context__


def _exit_status(pod: k8s.V1Pod, container: str) -> int | None:
    """The container's exit status; None while it runs, or when nothing is known of it."""
    statuses = pod.status.container_statuses if pod is not None and pod.status is not None else None
    for status in statuses or ():
        if status.name == container and status.state is not None and status.state.terminated is not None:
            code: int = status.state.terminated.exit_code
            return code
    return None
