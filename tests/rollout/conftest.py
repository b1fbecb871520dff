"""Fixtures of the rollout: two real model servers, published versions, a migrated database."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.kubernetes_api import KubernetesServer, Pod
from support.published import save_kinds
from support.replicas import Replica, Site
from support.shared import made_once
from support.side_cars import SideCar, add_pod, sync_settings

from sniffer.adapters.mysql.database import Database
from sniffer_rollout.aspired import CONFIG_FILE


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SavedModels by kind. Not to be written to."""
    return made_once(tmp_path_factory, "rollout-kinds", save_kinds)


@pytest.fixture(scope="session")
def replica_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Replica]]:
    """The session's two model servers. Ask for `replicas`, which sees to it that they run and serve nothing."""
    folder = tmp_path_factory.mktemp("replicas")
    servers = [Replica(folder / str(number)) for number in range(2)]
    for server in servers:
        server.start()
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture
def replicas(replica_processes: list[Replica]) -> list[Replica]:
    """Two model servers that serve nothing."""
    for replica in replica_processes:
        replica.reset()
    return replica_processes


@pytest.fixture(autouse=True)
def rollout_environ(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Quick failures, nothing of the developer's own settings, and the signal handlers as they were."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for name, value in {
        "SNIFFER_ROLLOUT_POLL_S": "0.1",
        "SNIFFER_ROLLOUT_LOAD_LIMIT_S": "60",
        "SNIFFER_ROLLOUT_LABEL_LIMIT_S": "40",
        "SNIFFER_ROLLOUT_STALE_S": "5",
        "SNIFFER_ROLLOUT_PATIENCE_S": "10",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SNIFFER_SERVING_URL", raising=False)
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def rollout_database(database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty migrated database, in the environment too."""
    monkeypatch.setenv("SNIFFER_DATABASE_URL", database_url)
    return database_url


@pytest.fixture
def site(
    replicas: list[Replica], kinds: Path, rollout_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Site:
    """A local target: both servers follow one folder."""
    folder = tmp_path / "serving"
    folder.mkdir()
    (folder / CONFIG_FILE).write_text("model_config_list {}\n")
    for replica in replicas:
        replica.config.unlink()
        replica.config.symlink_to(folder / CONFIG_FILE)
    monkeypatch.setenv("SNIFFER_SERVING_REPLICAS", ",".join(replica.url for replica in replicas))
    return Site(replicas, f"local:{folder}", kinds, tmp_path / "base", rollout_database, tmp_path / "report.json")


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesServer]:
    """The API, and a kubeconfig that leads to it."""
    with KubernetesServer() as server:
        kubeconfig = tmp_path / "kubeconfig"
        named = {"clusters": "cluster", "users": "user", "contexts": "context"}
        parts: dict[str, Any] = {
            "clusters": {"server": server.url},
            "users": {"token": "a"},
            "contexts": {"cluster": "main", "user": "main"},
        }
        config = {plural: [{"name": "main", one: parts[plural]}] for plural, one in named.items()}
        kubeconfig.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "main"} | config))
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        monkeypatch.setenv("SNIFFER_ROLLOUT_PATIENCE_S", "2")
        yield server


@pytest.fixture
def pods(api: KubernetesServer, replicas: list[Replica], tmp_path: Path) -> list[Pod]:
    """A pod for each server, its ConfigMap's folder empty."""
    return [add_pod(api, replica, tmp_path) for replica in replicas]


@pytest.fixture
def cluster(replicas: list[Replica], kinds: Path, rollout_database: str, tmp_path: Path) -> Site:
    """The target in Kubernetes, its model base a folder."""
    target = "kubernetes:sniffer/tf-serving"
    return Site(replicas, target, kinds, tmp_path / "base", rollout_database, tmp_path / "report.json")


@pytest.fixture
def side_cars(cluster: Site, pods: list[Pod]) -> Iterator[list[SideCar]]:
    """A running sync for each pod."""
    cars = [
        SideCar(sync_settings(pod, replica, str(cluster.base)))
        for pod, replica in zip(pods, cluster.replicas, strict=True)
    ]
    yield cars
    for car in cars:
        car.stop()
