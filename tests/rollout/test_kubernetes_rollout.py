"""Rollouts through the Kubernetes API: pods are real model servers, each with its own sync and its own disk."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.kubernetes_api import KubernetesServer, Pod
from support.programs import Program, eventually
from support.replicas import Site
from support.scratch_bucket import ScratchBucket
from support.side_cars import LABELS, SideCar, sync_settings

from sniffer.core.model_records import ModelStatus


@pytest.mark.slow
def test_versions_go_from_s3_through_the_programs_to_every_pod(
    api: KubernetesServer, cluster: Site, pods: list[Pod], bucket: ScratchBucket
) -> None:
    cluster.model_base = f"s3://{bucket.name}/models"
    programs = []
    for pod, replica in zip(pods, cluster.replicas, strict=True):
        settings = sync_settings(pod, replica, cluster.model_base)
        flags = {
            "--model-base-path": settings.model_base,
            "--models-dir": settings.models_dir,
            "--aspired": settings.aspired,
            "--config": settings.config,
            "--poll-s": "0.2",
        }
        programs.append(Program("sniffer_rollout.sync", *(f"{flag}={value}" for flag, value in flags.items())))
    for version, kind in ((1, "good"), (2, "other")):
        cluster.publish(version, kind)
        for path in sorted((cluster.base / str(version)).rglob("*"), key=lambda p: p.name == "sniffer_model.json"):
            if path.is_file():
                bucket.put(f"models/{path.relative_to(cluster.base)}", path.read_bytes())
        cluster.step("run", "--latency-floor-ms=10000")
    cluster.eventually_served([1, 2], stable=2)
    assert cluster.statuses() == {1: "previous", 2: "stable"}
    assert api.aspired() == {"versions": [1, 2], "labels": {"stable": 2}}
    assert {len(pod.annotations["sniffer/aspired-digest"]) for pod in pods} == {64}
    cluster.step("rollback")
    assert cluster.served() == [([1, 2], 1, None)] * 2
    assert cluster.statuses() == {1: "stable", 2: "previous"}
    for program in programs:
        program.process.terminate()
        assert program.wait(5) == 0
        assert len([line for line in program.err if "fetched version" in line]) == 2


def test_every_step_can_be_run_again(api: KubernetesServer, cluster: Site, side_cars: list[SideCar]) -> None:
    cluster.publish(1)
    for step in ("load", "load", "verify", "verify", "promote", "promote", "restore", "restore"):
        cluster.step(step, *(() if step == "restore" else ("--version=1",)))
    cluster.eventually_served([1], stable=1)
    assert api.aspired() == {"versions": [1], "labels": {"stable": 1}}
    cluster.step("rollback", status=2)
    cluster.step("rollback", "--version=1")


def test_a_new_pod_starts_without_a_previous_version_that_is_gone_and_restore_drops_it(
    api: KubernetesServer, cluster: Site, pods: list[Pod], side_cars: list[SideCar]
) -> None:
    for version in (1, 2):
        cluster.publish(version, status=ModelStatus.STABLE)
    cluster.step("restore")
    assert api.aspired() == {"versions": [1, 2], "labels": {"stable": 2}}
    assert {len(digest) for digest in api.digests().values()} == {64} and set(api.digests()) == {"1", "2"}
    cluster.eventually_served([1, 2], stable=2)
    shutil.rmtree(cluster.base / "1")
    # Every pod has it on its disk: a roll-back is still possible, and back, whether a model base is named or not.
    cluster.step("restore")
    for stable in (1, 2):
        assert cluster.step("rollback", "--model-base-path=")["stable"] == stable
    cluster.step("restore", "--model-base-path=")
    assert api.aspired() == {"versions": [1, 2], "labels": {"stable": 2}}
    side_cars[1].stop()
    shutil.rmtree(sync_settings(pods[1], cluster.replicas[1], "").models_dir)
    cluster.replicas[1].reset()
    new = SideCar(sync_settings(pods[1], cluster.replicas[1], str(cluster.base)))
    eventually(lambda: cluster.replicas[1].available() == [2], "the new pod serves what is stable")
    assert list(cluster.step("restore")["lost"]) == ["1"]
    assert api.aspired() == {"versions": [2], "labels": {"stable": 2}}
    cluster.eventually_served([2], stable=2)
    new.stop()


def test_a_version_that_cannot_be_loaded_is_taken_back(
    api: KubernetesServer, cluster: Site, side_cars: list[SideCar]
) -> None:
    cluster.publish(1)
    cluster.step("run")
    cluster.publish(2, "corrupt")
    assert "is at END with it" in cluster.step("run", status=2)["error"]
    assert api.aspired() == {"versions": [1], "labels": {"stable": 1}}
    cluster.eventually_served([1], stable=1)


def test_a_version_that_no_pod_begins_to_load_ends_at_the_limit(
    api: KubernetesServer, cluster: Site, pods: list[Pod]
) -> None:
    cluster.publish(1)
    found = cluster.step("load", "--version=1", "--load-limit-s=1", status=1)
    assert re.search(
        "not within 1 s: http://127.0.0.1:.* (has not started to load it|is at END with it)", found["error"]
    )
    cluster.step("restore")
    assert api.aspired() == {"versions": [], "labels": {}}


def test_a_pod_without_its_image_is_named(api: KubernetesServer, cluster: Site, side_cars: list[SideCar]) -> None:
    waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "tensorflow/serving:9"'}
    statuses = [{"name": "tf-serving", "state": {"waiting": waiting}}]
    status = {"phase": "Pending", "containerStatuses": statuses}
    api.pods.append(Pod("tf-serving-new", 1, Path("/nowhere"), LABELS, status=status))
    api.deployments["tf-serving"]["spec"]["replicas"] = 3
    cluster.publish(1)
    found = cluster.step("load", "--version=1", "--load-limit-s=2", status=1)
    assert "2 of 3 servers run; pod tf-serving-new, container tf-serving: ImagePullBackOff" in found["error"]


def test_what_somebody_else_wrote_is_not_overwritten_unasked(
    api: KubernetesServer, cluster: Site, side_cars: list[SideCar]
) -> None:
    cluster.publish(1)
    cluster.step("run")
    by_hand = {"versions": [1], "labels": {}}
    api.edit("tf-serving-aspired", {"aspired.json": json.dumps(by_hand)})
    found = cluster.step("restore", status=2)
    assert 'conflict with "kubectl-edit"' in found["error"]
    assert "--force-conflicts" in found["error"]
    assert api.aspired() == by_hand
    cluster.step("restore", "--force-conflicts")
    assert api.aspired() == {"versions": [1], "labels": {"stable": 1}}


def test_an_api_that_is_away_for_a_moment_is_waited_for(
    api: KubernetesServer, cluster: Site, side_cars: list[SideCar], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNIFFER_ROLLOUT_PATIENCE_S", "30")
    cluster.publish(1)
    asked: list[str] = []

    def away_after_the_config_map(method: str, path: str) -> Any:
        asked.append(method)
        if method == "PATCH" and asked.count("PATCH") == 2:
            api.away_for(1.5)
            return 503, {"message": "etcdserver: leader changed"}
        return None

    api.refuse = away_after_the_config_map
    cluster.step("run")
    assert cluster.statuses() == {1: "stable"}


@pytest.mark.slow
def test_an_api_that_stays_away_ends_the_step_and_a_rerun_goes_on(
    api: KubernetesServer, cluster: Site, side_cars: list[SideCar], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.publish(1)
    cluster.step("load", "--version=1")
    cluster.step("verify", "--version=1")
    monkeypatch.setenv("SNIFFER_ROLLOUT_PATIENCE_S", "0.5")
    api.away_for(600)
    found = cluster.step("promote", "--version=1", status=1)
    assert "the Kubernetes API has not answered for 0.5 s" in found["error"]
    assert cluster.statuses() == {1: "blessed"}
    api.away_for(0)
    cluster.step("promote", "--version=1")
    assert cluster.statuses() == {1: "stable"}


@pytest.mark.parametrize(
    ("refused", "status", "message"),
    [
        (lambda method, path: path.endswith("/deployments/tf-serving"), 403, "no permission to GET .*rbac.yaml"),
        (lambda method, path: method == "PATCH", 422, "Kubernetes refuses PATCH .* 422 what it said"),
        (lambda method, path: path.endswith("/deployments/tf-serving"), 404, "there is no Deployment tf-serving"),
    ],
)
def test_a_refusal_is_told_in_one_line(
    api: KubernetesServer,
    cluster: Site,
    pods: list[Pod],
    refused: Callable[[str, str], bool],
    status: int,
    message: str,
) -> None:
    api.refuse = lambda method, path: (status, {"message": "what it said"}) if refused(method, path) else None
    found = cluster.step("restore", status=2)
    assert re.search(message, found["error"])
