"""The pods that our DAGs' tasks start where programs run in pods: asked of their operators, with no cluster."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from support.admission import Write, refusals
from support.imports import CHECKOUT
from support.manifests import DIGEST, Render, Resource
from support.pod_security import violations

DAGS = CHECKOUT / "dags"

Pods = dict[tuple[str, str], Resource]
"""A pod by DAG and task."""

_BUILD = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
from kubernetes.client import ApiClient
from sniffer_airflow.executors.pod import PodProgramOperator

bag = DagBag(sys.argv[1])
assert not bag.import_errors, bag.import_errors
for dag_id, dag in bag.dags.items():
    for task in dag.tasks:
        if task.is_mapped:
            task = task.unmap({"title": "1 of 2", "words": []})
        if isinstance(task, PodProgramOperator):
            task.arguments, task.more_arguments = ["--flag=value"], []
            pod = ApiClient().sanitize_for_serialization(task.build_pod_request_obj(dry_run=True))
            print("POD " + json.dumps([dag_id, task.task_id, pod]))
"""


def built(tmp_path_factory: pytest.TempPathFactory, **environ: str) -> Pods:
    """The pods by DAG and task, with the settings of airflow-values.yaml."""
    values = yaml.safe_load((DAGS.parent / "k8s" / "airflow-values.yaml").read_text())
    settings = {each["name"]: each["value"] for each in values["env"]}
    assert settings["SNIFFER_RUN_IN"] == "pods"
    home = tmp_path_factory.mktemp("airflow")
    done = subprocess.run(
        [sys.executable, "-c", _BUILD, str(DAGS)],
        env=os.environ | settings | {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"} | environ,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line[4:]) for line in done.stdout.splitlines() if line.startswith("POD ")]
    return {(dag_id, task_id): pod for dag_id, task_id, pod in rows}


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Pods:
    return built(tmp_path_factory)


@pytest.fixture(scope="module")
def schemas(k8s: Path) -> str:
    """The version of Kubernetes that the cluster has."""
    return str(yaml.safe_load((k8s / "eksctl.yaml").read_text())["metadata"]["version"])


WITHOUT_MYSQL = {("watch_labels", "count_labels")} | {
    ("retrain_model", step) for step in ("snapshot", "train", "evaluate")
}
"""Steps of a training that neither read nor write MySQL."""

TEMPLATES = {
    "scan_bucket": "fleet",
    "backfill_bucket": "fleet",
    "measure_recall": "fleet",
    "publish_labels": "fleet",
    "rollout_serving": "rollout",
}


def test_every_program_of_every_dag_is_a_pod(pods: Pods) -> None:
    found = {dag_id: [task for dag, task in pods if dag == dag_id] for dag_id, _ in pods}
    assert found == {
        "backfill_bucket": ["cut", "estimate", "shards", "scan"],
        "scan_bucket": ["shards", "scan", "scan_backfill"],
        "watch_labels": ["count_labels"],
        "publish_labels": ["publish"],
        "retrain_model": ["snapshot", "train", "evaluate", "gate"],
        "export_model": ["export"],
        "measure_recall": ["draw", "measure"],
        "rollout_serving": found["rollout_serving"],
    }
    assert set(found["rollout_serving"]) == {"preflight", "load", "verify", "promote", "rollback", "restore", "tidy_up"}


def test_every_pod_keeps_to_the_schema_and_is_restricted(pods: Pods, schemas: str) -> None:
    for name, pod in pods.items():
        kubernetes_validate.validate(pod, schemas, strict=True)
        assert violations(pod["spec"]) == [], name


def test_the_cluster_takes_every_pod_from_airflow(pods: Pods, render: Render) -> None:
    """By the admission policies, once the images are pinned."""
    cluster = render("overlays/gpu")
    for name, pod in pods.items():
        made = copy.deepcopy(pod)
        for each in made["spec"]["containers"]:
            each["image"] = f"{each['image'].partition(':')[0]}{DIGEST}"
        write = Write("system:serviceaccount:airflow:airflow-scheduler", "CREATE", "", "pods", "x", made)
        assert refusals(cluster, write) == [], name


def test_every_pod_keeps_its_template(pods: Pods, k8s: Path) -> None:
    for (dag_id, task_id), pod in pods.items():
        template = yaml.safe_load((k8s / "pods" / f"{TEMPLATES.get(dag_id, 'trainer')}.yaml").read_text())
        base, side_car = pod["spec"]["containers"]
        (ours,) = template["spec"]["containers"]
        assert pod["metadata"]["labels"].items() >= template["metadata"]["labels"].items()
        assert pod["metadata"]["namespace"] == "sniffer"
        for name in ("serviceAccountName", "automountServiceAccountToken", "securityContext"):
            assert pod["spec"][name] == template["spec"][name], task_id
        assert [each for each in pod["spec"]["volumes"] if each["name"] != "xcom"] == template["spec"]["volumes"]
        assert {name: base[name] for name in ("envFrom", "resources", "securityContext")} == {
            name: ours[name] for name in ("envFrom", "resources", "securityContext")
        }
        wanted = [
            each
            for each in ours["env"]
            if each["name"] != "SNIFFER_DATABASE_URL" or (dag_id, task_id) not in WITHOUT_MYSQL
        ]
        assert base["env"] == [*wanted, {"name": "SNIFFER_LOG_FORMAT", "value": "json"}]
        assert base["command"][:2] == ["python", "-m"]
        assert base["args"] == ["--flag=value", "--result=/airflow/xcom/return.json"]
        assert side_car["image"] == base["image"]


def test_pods_run_the_images_that_kustomize_names(pods: Pods, k8s: Path) -> None:
    listed = yaml.safe_load((k8s / "components" / "images" / "kustomization.yaml").read_text())["images"]
    tags = {image["name"]: image["newTag"] for image in listed}
    for (dag_id, _), pod in pods.items():
        name = "sniffer-bot/fleet" if dag_id in TEMPLATES else "sniffer-bot/trainer"
        assert pod["spec"]["containers"][0]["image"] == f"{name}:{tags[name]}"


def without_chance(pod: Resource) -> Resource:
    """The pod without its name, which ends with letters drawn by chance."""
    found = copy.deepcopy(pod)
    found["metadata"].pop("name", None)
    return found


def test_a_training_on_a_gpu_and_a_scan_on_spot_nodes_change_only_that(
    pods: Pods, schemas: str, tmp_path_factory: pytest.TempPathFactory, k8s: Path
) -> None:
    groups = yaml.safe_load((k8s / "eksctl.yaml").read_text())["managedNodeGroups"]
    [spot] = [group for group in groups if group.get("spot")]
    changed = built(tmp_path_factory, SNIFFER_TRAINER_GPU="1", SNIFFER_SCAN_SPOT="1")
    for name, found in changed.items():
        plain, pod = without_chance(pods[name]), without_chance(found)
        component = plain["metadata"]["labels"]["app.kubernetes.io/component"]
        if component != "rollout":  # which nothing changes
            kubernetes_validate.validate(pod, schemas, strict=True)
            assert violations(pod["spec"]) == []
            assert plain["spec"].pop("tolerations", []) == []
            assert plain["spec"].pop("affinity", {}) == {}
        if component == "training":
            assert pod["spec"].pop("affinity", {}) == {}
            assert pod["spec"]["containers"][0]["resources"]["limits"].pop("nvidia.com/gpu") == "1"
            assert [each["key"] for each in pod["spec"].pop("tolerations")] == ["nvidia.com/gpu"]
        if component == "fleet":
            [toleration] = pod["spec"].pop("tolerations")
            assert {(taint["key"], taint["effect"]) for taint in spot["taints"]} == {
                (toleration["key"], toleration["effect"])
            }
            # Preferred: a night without any spot node is scanned on others.
            [wishes] = pod["spec"].pop("affinity")["nodeAffinity"].values()
            labels = [wish["preference"]["matchExpressions"][0] for wish in wishes]
            assert {"key": "eks.amazonaws.com/capacityType", "operator": "In", "values": ["SPOT"]} in labels
        assert pod == plain
