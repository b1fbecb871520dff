"""A target in Kubernetes: the model servers of one Deployment, which follow one ConfigMap.

The ConfigMap is written by server-side apply, so that what anybody else writes there is never overwritten unseen.
"""

from __future__ import annotations

import copy
import logging
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kubernetes import client, config

from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.redaction import SecretUrl
from sniffer.core.settings import RolloutSettings
from sniffer_rollout.aspired import ASPIRED_FILE, Aspired, parse_aspired
from sniffer_rollout.targets.capacity import GPU, Room, find_room, requested_gpus
from sniffer_rollout.targets.kubernetes_api import KubernetesApi
from sniffer_rollout.targets.pods import (
    base_url,
    is_leaving,
    not_created,
    on_lost_node,
    problem,
    recovery,
    restarts,
    start,
    without_node,
)
from sniffer_rollout.targets.target import IN_PLACE, SURGE, Mode, Replicas, Target

log = logging.getLogger(__name__)

DIGEST_ANNOTATION = "sniffer/aspired-digest"
ROLE_LABEL = "sniffer/role"
CANARY_LABEL = "sniffer/canary"
_CANARY = "canary"


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
        """Surge when the servers use GPUs and some node has room for one more pod; else in place, and why."""
        spec = self._deployment()["spec"]["template"]["spec"]
        if requested_gpus(spec) == 0:
            return Mode(IN_PLACE, "the servers ask for no GPU: a new version is loaded beside the others")
        try:
            nodes, pods = self._api.list_all("/api/v1/nodes"), self._api.list_all("/api/v1/pods")
        except SettingsError as error:
            return Mode(IN_PLACE, f"cannot see whether a GPU is spare: {error}")
        room = find_room(nodes, pods, spec)
        if room.node is None:
            return Mode(IN_PLACE, f"{_no_room(room)}: a new version is loaded beside the others, in the servers' own")
        return Mode(SURGE, f"node {room.node} has a GPU to spare: a new version is proved in a pod of its own first")

    def read_aspired(self) -> Aspired:
        """What the ConfigMap says; nothing before there is one."""
        found = self._api.find(f"{self._core}/configmaps/{self._config_map}")
        text = ((found or {}).get("data") or {}).get(ASPIRED_FILE)
        return Aspired() if text is None else parse_aspired(text, f"{ASPIRED_FILE} in ConfigMap {self._config_map}")

    def unservable(self, aspired: Aspired) -> Mapping[int, str]:  # noqa: ARG002 - the side-cars fetch, and compare
        """Nothing that we see from here."""
        return {}

    def apply(self, aspired: Aspired) -> None:
        """Write the ConfigMap, and have each kubelet look at it at once."""
        self._write(aspired)
        for pod in self._pods():
            self._annotate(pod, aspired.digest)

    def _write(self, aspired: Aspired) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self._config_map, "namespace": self._namespace},
            "data": {ASPIRED_FILE: aspired.json()},
        }
        self._api.apply(f"{self._core}/configmaps/{self._config_map}", body, force=self._force)

    def replicas(self) -> Replicas:
        """The running pods of the Deployment, and what keeps others from running."""
        deployment = self._deployment()
        pods = [pod for pod in self._pods(deployment) if not is_leaving(pod)]
        wanted = int(deployment["spec"].get("replicas", 1))
        nowhere = [found for pod in pods if (found := without_node(pod) or on_lost_node(pod)) is not None]
        if (refused := not_created(deployment)) is not None:
            nowhere += [refused] * max(0, wanted - len(pods))
        urls = [SecretUrl(url) for pod in pods if (url := base_url(pod)) is not None]
        problems = [found for pod in pods if (found := problem(pod)) is not None]
        recovering = [found for pod in pods if (found := recovery(pod)) is not None]
        counts = {name: count for pod in pods for name, count in restarts(pod).items()}
        starting = tuple(found for pod in pods if (found := start(pod)) is not None)
        return Replicas(
            tuple(sorted(urls)), wanted, tuple(problems), tuple(nowhere), tuple(recovering), counts, starting
        )

    @contextmanager
    def canary(self) -> Iterator[Target]:
        """A Deployment of one pod like ours, under labels that our Service does not select; deleted in the end."""
        canary_map = f"{self._config_map}-{_CANARY}"
        body = canary_deployment(self._deployment(), self._config_map, canary_map, secrets.token_hex(4))
        name = body["metadata"]["name"]
        target = KubernetesTarget(self._api, self._namespace, name, config_map=canary_map, force_conflicts=True)
        try:
            # Before the pod: what an earlier canary was told must not be what this one starts with.
            target._write(Aspired())
            self._api.apply(f"{self._deployments}/{name}", body, force=True)
            yield target
        finally:
            self._remove_canary()
            log.info("%s is deleted", target.description)

    def _remove_canary(self) -> bool:
        """Delete the canary, its ConfigMap last; whether there was one."""
        found = self._api.delete(f"{self._deployments}/{self._name}-{_CANARY}")
        try:
            return self._api.delete(f"{self._core}/configmaps/{self._config_map}-{_CANARY}") or found
        except SettingsError as error:
            # Nothing reads it any more.
            log.warning("the canary's ConfigMap is left behind: %s", error)
            return found

    def denied_rights(self) -> list[str]:
        """What a rollout does and this account may not, such as `patch configmaps tf-serving-aspired`."""
        canary, canary_map = f"{self._name}-{_CANARY}", f"{self._config_map}-{_CANARY}"
        needed = [
            *((verb, "", "configmaps", self._config_map) for verb in ("get", "patch")),
            *((verb, "", "configmaps", canary_map) for verb in ("get", "patch", "delete")),
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
        if self._remove_canary():
            log.info("deleted the canary that was left behind")

    def _deployment(self) -> dict[str, Any]:
        found = self._api.find(f"{self._deployments}/{self._name}")
        if found is None:
            raise SettingsError(f"there is no Deployment {self._name} in namespace {self._namespace}: check --target")
        return found

    def _pods(self, deployment: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        labels = (deployment or self._deployment())["spec"]["selector"]["matchLabels"]
        selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        return self._api.list_all(f"{self._core}/pods", labelSelector=selector)

    def _annotate(self, pod: dict[str, Any], digest: str) -> None:
        name, annotations = pod["metadata"]["name"], pod["metadata"].get("annotations") or {}
        if annotations.get(DIGEST_ANNOTATION) == digest:
            return
        try:
            self._api.merge(f"{self._core}/pods/{name}", {"metadata": {"annotations": {DIGEST_ANNOTATION: digest}}})
        except (SettingsError, ContractError) as error:
            log.warning("%s; pod %s will see the change within a minute or two", error, name)


def canary_deployment(deployment: dict[str, Any], config_map: str, canary_config_map: str, name: str) -> dict[str, Any]:
    """A Deployment of one pod from the live one's template: other labels, another ConfigMap, all else the same.

    Its pods bear `name`: those of a canary that was just deleted run on for a while, and look like this one's.
    """
    template = copy.deepcopy(deployment["spec"]["template"])
    selector = {key: f"{value}-{_CANARY}" for key, value in deployment["spec"]["selector"]["matchLabels"].items()}
    selector |= {ROLE_LABEL: _CANARY, CANARY_LABEL: name}
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


def _no_room(room: Room) -> str:
    """Why no node has room for one more pod."""
    if not room.any_gpu:
        return "no GPU is spare"
    short = [f"{name} ({', '.join(few)})" for name, few in sorted(room.lacking.items()) if GPU not in few]
    return f"a GPU is spare, but its node has too little left of other things: {'; '.join(short)}"
