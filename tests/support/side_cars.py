"""The sync beside a model server, as in its pod, and the pod."""

from __future__ import annotations

import threading
from pathlib import Path

from sniffer.core.errors import SnifferError
from sniffer_rollout.aspired import ASPIRED_FILE
from sniffer_rollout.sync import Sync, SyncSettings
from support.kubernetes_api import KubernetesServer, Pod
from support.replicas import Replica

LABELS = {"app.kubernetes.io/name": "tf-serving"}


class SideCar:
    """The sync beside one server, as a thread."""

    def __init__(self, settings: SyncSettings) -> None:
        self._sync = Sync(settings)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ending.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._ending.wait(0.1):
            try:
                self._sync.step()
            except SnifferError:
                continue


def sync_settings(pod: Pod, replica: Replica, base: str) -> SyncSettings:
    """What the side-car of that pod is told."""
    models = pod.mount.parent / "models"
    return SyncSettings(base, models, pod.mount / ASPIRED_FILE, replica.config, models, 0.2, grace_s=600.0)


def add_pod(api: KubernetesServer, replica: Replica, folder: Path, labels: dict[str, str] | None = None) -> Pod:
    """A running pod with that server in it, its ConfigMap's folder empty."""
    mount = folder / f"pod-{replica.port}" / "aspired"
    mount.mkdir(parents=True)
    pod = Pod(f"tf-serving-{replica.port}", replica.port, mount, labels or LABELS)
    api.pods.append(pod)
    return pod
