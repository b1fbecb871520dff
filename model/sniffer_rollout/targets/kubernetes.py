"""A target in Kubernetes: the model servers of one Deployment, which follow one ConfigMap. Its API is touched here.

The ConfigMap is written by server-side apply, so that what anybody else writes there is never overwritten unseen.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import urllib3
from kubernetes import client, config

from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.retry import Retry, RetryLater
from sniffer.core.settings import RolloutSettings
from sniffer.core.text import one_line
from sniffer_rollout.aspired import ASPIRED_FILE, Aspired, parse_aspired
from sniffer_rollout.targets.pods import base_url, is_leaving, problem, requested_gpus, spare_gpu_node
from sniffer_rollout.targets.target import IN_PLACE, SURGE, Mode, Replicas, Target

log = logging.getLogger(__name__)

FIELD_MANAGER = "sniffer-rollout"
DIGEST_ANNOTATION = "sniffer/aspired-digest"
ROLE_LABEL = "sniffer/role"
_CANARY = "canary"
_RETRIED = frozenset({429, 500, 502, 503, 504})
_TIMEOUTS_S = (3.0, 20.0)
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"


class _Refused(ContractError):
    """The API's answer is no; `status` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class KubernetesApi:
    """The API as JSON in and out. Transient failures are retried for at most `patience_s`.

    Raises TransientError after that, SettingsError without permission, ContractError for every other refusal.
    """

    def __init__(self, api_client: Any, patience_s: float) -> None:
        self._client = api_client
        self._patience_s = patience_s

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """The object or list at that path."""
        return self._request("GET", path, query)

    def find(self, path: str) -> dict[str, Any] | None:
        """The object at that path, or None."""
        try:
            return self.get(path)
        except _Refused as error:
            if error.status != 404:
                raise
            return None

    def apply(self, path: str, body: dict[str, Any], *, force: bool) -> None:
        """Server-side apply: make or change the object, our fields alone.

        Raises ContractError when another manager owns one of them, unless `force`.
        """
        query = {"fieldManager": FIELD_MANAGER, "force": str(force).lower()}
        try:
            self._request("PATCH", path, query, body, _APPLY)
        except _Refused as error:
            if error.status != 409:
                raise
            raise ContractError(
                f"{path.rpartition('/')[2]} was changed by somebody else ({error}): see who and why by `kubectl get "
                "--show-managed-fields`, then take it over by --force-conflicts"
            ) from error

    def merge(self, path: str, body: dict[str, Any]) -> None:
        """Change these fields of an object; nothing when it is gone."""
        try:
            self._request("PATCH", path, {"fieldManager": FIELD_MANAGER}, body, _MERGE)
        except _Refused as error:
            if error.status != 404:
                raise

    def is_allowed(self, verb: str, group: str, resource: str, name: str, namespace: str) -> bool:
        """Whether the account may do that, as the API itself says (SelfSubjectAccessReview)."""
        attributes = {"verb": verb, "group": group, "resource": resource, "name": name, "namespace": namespace}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        answer = self._request("POST", path, {}, review, "application/json")
        return bool(answer.get("status", {}).get("allowed"))

    def delete(self, path: str) -> bool:
        """Delete the object and what belongs to it; whether there was one."""
        try:
            self._request("DELETE", path, {"propagationPolicy": "Background"})
        except _Refused as error:
            if error.status != 404:
                raise
            return False
        return True

    def _request(
        self, method: str, path: str, query: dict[str, str], body: dict[str, Any] | None = None, kind: str = ""
    ) -> dict[str, Any]:
        retry = Retry("the Kubernetes API", "run this step again", self._patience_s, first_pause_s=0.1)
        return retry.call(lambda: self._attempt(method, path, query, body, kind))

    def _attempt(
        self, method: str, path: str, query: dict[str, str], body: dict[str, Any] | None, kind: str
    ) -> dict[str, Any]:
        try:
            return self._exchange(method, path, query, body, kind)
        except urllib3.exceptions.HTTPError as error:
            raise RetryLater(one_line(error)) from error
        except _Refused as error:
            if error.status in _RETRIED:
                raise RetryLater(one_line(error)) from error
            raise

    def _exchange(
        self, method: str, path: str, query: dict[str, str], body: dict[str, Any] | None, kind: str
    ) -> dict[str, Any]:
        headers = {"Accept": "application/json"} | ({"Content-Type": kind} if kind else {})
        try:
            found: dict[str, Any] = self._client.call_api(
                path,
                method,
                query_params=list(query.items()),
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
                response_types_map=dict.fromkeys((200, 201, 202), "object"),
                _return_http_data_only=True,
                _request_timeout=_TIMEOUTS_S,
            )
            return found
        except client.ApiException as error:
            reason = one_line(_message(error))
            if error.status in (401, 403):
                raise SettingsError(
                    f"no permission to {method} {path} in Kubernetes ({reason}): see k8s/base/rbac.yaml"
                ) from error
            raise _Refused(error.status, f"Kubernetes refuses {method} {path}: {error.status} {reason}") from error


class KubernetesTarget:
    """The model servers of a Deployment; the ConfigMap that their side-cars have mounted says what they serve."""

    def __init__(
        self, api: KubernetesApi, namespace: str, deployment: str, *, config_map: str, force_conflicts: bool = False
    ) -> None:
        self.description = f"kubernetes:{namespace}/{deployment}"
        self._api = api
        self._namespace = namespace
        self._name = deployment
        self._core = f"/api/v1/namespaces/{namespace}"
        self._deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        self._config_map = config_map
        self._force = force_conflicts

    def mode(self) -> Mode:
        """Surge when some node has a GPU to spare for one more pod; else in place, and why."""
        spec = self._deployment()["spec"]["template"]["spec"]
        if requested_gpus(spec) == 0:
            return Mode(IN_PLACE, "the servers ask for no GPU: a new version is loaded beside the others")
        try:
            nodes, pods = self._api.get("/api/v1/nodes")["items"], self._api.get("/api/v1/pods")["items"]
        except SettingsError as error:
            return Mode(IN_PLACE, f"cannot see whether a GPU is spare: {error}")
        node = spare_gpu_node(nodes, pods, spec)
        if node is None:
            return Mode(IN_PLACE, "no GPU is spare: a new version is loaded beside the others, in the servers' own")
        return Mode(SURGE, f"node {node} has a GPU to spare: a new version is proved in a pod of its own first")

    def read_aspired(self) -> Aspired:
        """What the ConfigMap says; nothing before there is one."""
        found = self._api.find(f"{self._core}/configmaps/{self._config_map}")
        text = ((found or {}).get("data") or {}).get(ASPIRED_FILE)
        return Aspired() if text is None else parse_aspired(text, f"{ASPIRED_FILE} in ConfigMap {self._config_map}")

    def apply(self, aspired: Aspired) -> None:
        """Write the ConfigMap, and have each kubelet look at it at once."""
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self._config_map, "namespace": self._namespace},
            "data": {ASPIRED_FILE: aspired.json()},
        }
        self._api.apply(f"{self._core}/configmaps/{self._config_map}", body, force=self._force)
        for pod in self._pods():
            self._annotate(pod, aspired.digest)

    def replicas(self) -> Replicas:
        """The running pods of the Deployment, and what keeps others from running."""
        deployment = self._deployment()
        pods = [pod for pod in self._pods(deployment) if not is_leaving(pod)]
        urls = [url for pod in pods if (url := base_url(pod)) is not None]
        problems = [found for pod in pods if (found := problem(pod)) is not None]
        return Replicas(tuple(sorted(urls)), int(deployment["spec"].get("replicas", 1)), tuple(problems))

    @contextmanager
    def canary(self, aspired: Aspired) -> Iterator[Target]:
        """A Deployment of one pod like ours, under labels that our Service does not select; deleted in the end."""
        body = canary_deployment(self._deployment(), self._config_map, f"{self._config_map}-{_CANARY}")
        name = body["metadata"]["name"]
        target = KubernetesTarget(
            self._api, self._namespace, name, config_map=f"{self._config_map}-{_CANARY}", force_conflicts=True
        )
        path = f"{self._deployments}/{name}"
        try:
            self._api.apply(path, body, force=True)
            target.apply(aspired)
            log.info("%s loads the version first", target.description)
            yield target
        finally:
            self._api.delete(path)
            log.info("%s is deleted", target.description)

    def denied_rights(self) -> list[str]:
        """What a rollout does and this account may not, such as `patch configmaps tf-serving-aspired`."""
        canary = f"{self._name}-{_CANARY}"
        needed = [
            *((verb, "", "configmaps", self._config_map) for verb in ("get", "patch")),
            ("create", "", "configmaps", ""),
            ("get", "apps", "deployments", self._name),
            *((verb, "apps", "deployments", canary) for verb in ("get", "patch", "delete")),
            ("create", "apps", "deployments", ""),
            *((verb, "", "pods", "") for verb in ("list", "patch")),
        ]
        return [
            f"{verb} {resource} {name}".rstrip()
            for verb, group, resource, name in needed
            if not self._api.is_allowed(verb, group, resource, name, self._namespace)
        ]

    def tidy(self) -> None:
        """Delete the canary that an interrupted rollout left behind."""
        if self._api.delete(f"{self._deployments}/{self._name}-{_CANARY}"):
            log.info("deleted the canary that was left behind")

    def _deployment(self) -> dict[str, Any]:
        found = self._api.find(f"{self._deployments}/{self._name}")
        if found is None:
            raise SettingsError(f"there is no Deployment {self._name} in namespace {self._namespace}: check --target")
        return found

    def _pods(self, deployment: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        labels = (deployment or self._deployment())["spec"]["selector"]["matchLabels"]
        selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        pods: list[dict[str, Any]] = self._api.get(f"{self._core}/pods", labelSelector=selector)["items"]
        return pods

    def _annotate(self, pod: dict[str, Any], digest: str) -> None:
        name, annotations = pod["metadata"]["name"], pod["metadata"].get("annotations") or {}
        if annotations.get(DIGEST_ANNOTATION) == digest:
            return
        try:
            self._api.merge(f"{self._core}/pods/{name}", {"metadata": {"annotations": {DIGEST_ANNOTATION: digest}}})
        except SettingsError as error:
            log.warning("%s; pod %s will see the change within a minute or two", error, name)


def canary_deployment(deployment: dict[str, Any], config_map: str, canary_config_map: str) -> dict[str, Any]:
    """A Deployment of one pod from the live one's template: other labels, another ConfigMap, all else the same."""
    template = copy.deepcopy(deployment["spec"]["template"])
    selector = {key: f"{value}-{_CANARY}" for key, value in deployment["spec"]["selector"]["matchLabels"].items()}
    selector[ROLE_LABEL] = _CANARY
    template["metadata"] = {
        "labels": template["metadata"].get("labels", {}) | selector,
        "annotations": template["metadata"].get("annotations") or {},
    }
    for volume in template["spec"].get("volumes", ()):
        if volume.get("configMap", {}).get("name") == config_map:
            volume["configMap"]["name"] = canary_config_map
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": f"{deployment['metadata']['name']}-{_CANARY}",
            "namespace": deployment["metadata"]["namespace"],
            "labels": selector,
        },
        "spec": {"replicas": 1, "selector": {"matchLabels": selector}, "template": template},
    }


def connect(namespace: str, deployment: str, settings: RolloutSettings, *, force_conflicts: bool) -> KubernetesTarget:
    """The target, by the pod's own account or a kubeconfig; raises SettingsError when there is neither."""
    configuration = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        try:
            # Named, since the client itself reads KUBECONFIG when it is imported.
            config.load_kube_config(settings.kubeconfig, client_configuration=configuration)
        except config.ConfigException as error:
            raise SettingsError(
                f"no way to reach Kubernetes: run in a pod with a service account, or set KUBECONFIG ({error})"
            ) from error
    # We wait ourselves, and say so.
    configuration.retries = 0
    api = KubernetesApi(client.ApiClient(configuration), settings.patience_s)
    return KubernetesTarget(
        api, namespace, deployment, config_map=f"{deployment}-aspired", force_conflicts=force_conflicts
    )


def _message(error: Any) -> object:
    """What the API says of an error itself, or else HTTP's reason."""
    try:
        return json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        return error.reason or error.body
