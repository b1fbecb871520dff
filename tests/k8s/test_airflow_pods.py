"""The pods that Airflow makes of our templates: asked of its own operator, in a process of its own, with no cluster."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

# As an operator of ours would: the template's dictionary, flags, and for the GPU a second template laid over it.
_BUILD = """
import json, sys
from kubernetes.client import ApiClient
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

for template, over, arguments in json.load(sys.stdin):
    operator = KubernetesPodOperator(
        task_id="task", pod_template_dict=template, arguments=arguments, do_xcom_push=True,
        full_pod_spec=PodGenerator.deserialize_model_dict(over) if over else None,
    )
    pod = operator.build_pod_request_obj(dry_run=True)
    print("POD " + json.dumps(ApiClient().sanitize_for_serialization(pod)))
"""

SCAN = ["--bucket=uploads", "--consumers=4"]
TRAIN = ["sniffer_model.train", "--workdir=/var/lib/sniffer/runs/1"]


@pytest.fixture(scope="module")
def pods(k8s, tmp_path_factory):
    """The pods of a scan, a training, and a training on a GPU, with the settings of airflow-values.yaml."""

    def read(name):
        return yaml.safe_load((k8s / "pods" / name).read_text())

    wanted = [
        (read("fleet.yaml"), None, SCAN),
        (read("trainer.yaml"), None, TRAIN),
        (read("trainer.yaml"), read("trainer-gpu.yaml"), TRAIN),
    ]
    connections = {
        each["name"]: each["value"] for each in yaml.safe_load((k8s / "airflow-values.yaml").read_text())["env"]
    }
    done = subprocess.run(
        [sys.executable, "-c", _BUILD],
        input=json.dumps(wanted),
        env=os.environ | connections | {"AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow"))},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line[4:]) for line in done.stdout.splitlines() if line.startswith("POD ")]


@pytest.fixture(scope="module")
def violations():
    """The check of test_pod_security.py."""
    spec = importlib.util.spec_from_file_location("pod_security", Path(__file__).with_name("test_pod_security.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.violations


def test_the_fleets_pod_keeps_its_template_and_is_restricted_with_airflows_side_car(pods, violations, k8s):
    pod, *_ = pods
    template = yaml.safe_load((k8s / "pods" / "fleet.yaml").read_text())
    base, side_car = pod["spec"]["containers"]
    assert side_car["name"] == "airflow-xcom-sidecar"
    assert violations(pod["spec"]) == []
    assert pod["metadata"]["labels"].items() >= template["metadata"]["labels"].items()
    assert pod["metadata"]["namespace"] == "sniffer"
    assert pod["spec"]["serviceAccountName"] == "sniffer-fleet"
    assert pod["spec"]["securityContext"] == template["spec"]["securityContext"]
    assert [each for each in pod["spec"]["volumes"] if each["name"] != "xcom"] == template["spec"]["volumes"]
    (ours,) = template["spec"]["containers"]
    assert {key: base[key] for key in ours if key != "volumeMounts"} == {
        key: value for key, value in ours.items() if key != "volumeMounts"
    }
    assert base["args"] == SCAN


def test_a_training_on_a_gpu_changes_only_that(pods, violations):
    _, plain, gpu = pods
    assert violations(gpu["spec"]) == []
    assert "nvidia.com/gpu" not in plain["spec"]["containers"][0]["resources"]["limits"]
    assert gpu["spec"]["containers"][0]["resources"]["limits"].pop("nvidia.com/gpu") == "1"
    assert [each["key"] for each in gpu["spec"].pop("tolerations")] == ["nvidia.com/gpu"]
    assert plain["spec"].pop("tolerations") == []
    for pod in (plain, gpu):
        pod["metadata"].pop("name")  # ends with letters drawn by chance
    assert gpu == plain
