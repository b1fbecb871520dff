"""What the manifests start: modules that exist, flags that those programs take, and numbers that fit each other."""

from __future__ import annotations

import argparse
import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.imports import CHECKOUT
from support.manifests import Manifests, Render, Resource
from support.parsed_flags import parsed_by
from support.serve_flags import parse_flags

from sniffer.core.settings import fleet_settings
from sniffer_rollout import sync
from sniffer_serve.config import read_model_config

MODEL_DIR = CHECKOUT / "model" / "sniffer_model"

# Flags of the real server that ours does without: model_servers/main.cc of TensorFlow Serving 2.20.
TENSORFLOW_SERVINGS_OWN = {
    "--port",
    "--grpc_socket_path",
    "--num_load_threads",
    "--monitoring_config_file",
    "--enable_batching",
    "--batching_parameters_file",
}

# Flags that Airflow adds to a pod template, at least.
AIRFLOW_ADDS = {
    "sniffer.scan": ["--bucket=uploads", "--consumers=4"],
    "sniffer_rollout": ["run", "--version=3"],
}


def parsed_by_program(module: str, args: list[str]) -> argparse.Namespace:
    """What `python -m module args` reads from its flags; fails where the program would end with a usage error."""
    program = importlib.import_module(module)
    if hasattr(program, "__path__"):
        program = importlib.import_module(f"{module}.__main__")
    return parsed_by(program.main, args)


def python_programs(manifests: Manifests) -> Iterator[tuple[str, list[str]]]:
    """(module, its flags with $(NAME) replaced) of every container that starts one of ours with its own module."""
    for container in manifests.containers():
        if container["command"][:2] == ["python", "-m"] and len(container["command"]) == 3:
            args = [re.sub(r"\$\((\w+)\)", r"value-of-\1", arg) for arg in container.get("args", [])]
            yield container["command"][2], args


def test_every_flag_is_one_that_its_program_takes(manifests: Manifests) -> None:
    started = list(python_programs(manifests))
    assert started
    for module, args in started:
        parsed_by_program(module, [*args, *AIRFLOW_ADDS.get(module, [])])


def test_both_halves_of_a_fleet_know_which_scan_it_is(render: Render) -> None:
    flags = dict(python_programs(render("fleet")))
    assert "--scan-id=value-of-SCAN_ID" in flags["sniffer.scan.produce"]
    assert "--scan-id=value-of-SCAN_ID" in flags["sniffer.scan.consume"]


def test_a_fleet_outlives_the_loss_of_its_producers_node(render: Render, settings: dict[str, str]) -> None:
    fleet = render("fleet")
    given_up_s = 40 + 300  # the node is not ready, and its pods are evicted: Kubernetes' defaults
    scan = fleet_settings({**settings, **fleet.get("ConfigMap", "sniffer-scan")["data"]})
    assert scan.producer_deadline_s >= 2 * given_up_s
    rules = fleet.get("Job", "sniffer-producer")["spec"]["podFailurePolicy"]["rules"]
    assert {"type": "DisruptionTarget", "status": "True"} in rules[1]["onPodConditions"]
    service = fleet.get("Service", "sniffer-producer")["spec"]
    # Else its address stands beside the next producer's, and ZeroMQ takes the first one.
    assert service["clusterIP"] == "None" and not service.get("publishNotReadyAddresses")


def test_a_flag_that_a_program_does_not_take_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed_by_program("sniffer.scan.consume", ["--endpoint=tcp://a:1", "--bucket=b"])
    assert "--bucket" in capsys.readouterr().err


def test_every_program_has_a_manifest(everything: Manifests) -> None:
    started = {module for module, _ in python_programs(everything)}
    assert started == {
        "sniffer.scan",
        "sniffer.scan.produce",
        "sniffer.scan.consume",
        "sniffer.scan.migrate",
        "sniffer_rollout.sync",
        "sniffer_rollout",
        "sniffer.review.web.serve",
    }
    (trainer,) = [pod for name, pod in everything.pods() if name == "sniffer-trainer"]
    assert trainer["spec"]["containers"][0]["command"] == ["python", "-m"]  # a step's module comes with its flags


def server(manifests: Manifests) -> tuple[Resource, dict[str, str]]:
    """The container of TensorFlow Serving, and its flags."""
    (container,) = manifests.get("Deployment", "tf-serving")["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["tensorflow_model_server"]
    return container, dict(arg.split("=", 1) for arg in container["args"])


def flags_of(manifests: Manifests, name: str) -> dict[str, str]:
    """The flags of an init container of the model server's pod."""
    spec = manifests.get("Deployment", "tf-serving")["spec"]["template"]["spec"]
    (container,) = [each for each in spec["initContainers"] if each["name"] == name]
    return dict(arg.partition("=")[::2] for arg in container["args"])


def test_the_model_servers_flags_are_tensorflow_servings(overlay: Manifests) -> None:
    container, flags = server(overlay)
    settings = parse_flags([arg for arg in container["args"] if arg.partition("=")[0] not in TENSORFLOW_SERVINGS_OWN])
    assert settings.rest_api_port == container["ports"][0]["containerPort"]
    assert settings.allow_labels_for_unavailable
    assert settings.retry.max_retries == 1
    assert flags["--port"] == "0" and flags["--grpc_socket_path"]  # gRPC cannot be off without a socket


def test_the_side_car_writes_what_the_server_reads(overlay: Manifests) -> None:
    _, flags = server(overlay)
    for name in ("sync-models-once", "sync-models"):
        sync = flags_of(overlay, name)
        assert sync["--config"] == flags["--model_config_file"]
        assert ("--once" in sync) == (name == "sync-models-once")


def test_the_server_and_its_side_car_share_the_versions(overlay: Manifests) -> None:
    spec = overlay.get("Deployment", "tf-serving")["spec"]["template"]["spec"]
    for container in [*spec["initContainers"], *spec["containers"]]:
        (mount,) = [each for each in container["volumeMounts"] if each["name"] == "models"]
        flags = dict(arg.partition("=")[::2] for arg in container["args"])
        named = {"--config", "--models-dir", "--model_config_file"} & flags.keys()
        assert named and all(Path(flags[flag]).is_relative_to(mount["mountPath"]) for flag in named)
        assert mount.get("readOnly", False) == (container["name"] == "tf-serving")


def test_the_side_car_is_a_native_one_and_comes_after_the_first_sync(overlay: Manifests) -> None:
    first, side_car = overlay.get("Deployment", "tf-serving")["spec"]["template"]["spec"]["initContainers"]
    assert (first["name"], side_car["name"]) == ("sync-models-once", "sync-models")
    assert "restartPolicy" not in first
    assert side_car["restartPolicy"] == "Always"


def test_what_is_aspired_is_mounted_as_a_folder_that_may_be_missing(overlay: Manifests) -> None:
    spec = overlay.get("Deployment", "tf-serving")["spec"]["template"]["spec"]
    (volume,) = [each for each in spec["volumes"] if each["name"] == "aspired"]
    assert volume["configMap"] == {"name": "tf-serving-aspired", "optional": True}
    (mount,) = [each for each in spec["initContainers"][1]["volumeMounts"] if each["name"] == "aspired"]
    assert "subPath" not in mount
    assert Path(flags_of(overlay, "sync-models")["--aspired"]).parent == Path(mount["mountPath"])
    # It is the rollout's alone: an apply of ours must not take it back.
    assert "tf-serving-aspired" not in {each["metadata"]["name"] for each in overlay.of_kind("ConfigMap")}


def test_a_fresh_installation_serves_an_empty_list(overlay: Manifests, tmp_path: Path) -> None:
    """With no version and no rollout yet, the init container ends well, and the server has something to start on."""
    paths = ("--models-dir", "--aspired", "--config")
    flags = flags_of(overlay, "sync-models-once") | {"--model-base-path": ""}
    args = [
        f"{name}={tmp_path}{value}" if name in paths else f"{name}={value}"
        for name, value in flags.items()
        if name != "--once"
    ]
    assert sync.main([*args, "--once"]) == 0
    assert read_model_config(Path(f"{tmp_path}{flags['--config']}")) == []


def test_the_server_gives_up_a_request_before_the_fleet_does(overlay: Manifests, settings: dict[str, str]) -> None:
    from sniffer.core.settings import serving_settings

    _, flags = server(overlay)
    assert int(flags["--rest_api_timeout_in_ms"]) / 1000 < serving_settings(settings).read_timeout_s


def test_probes_ask_what_tells_a_served_model_from_a_running_server(overlay: Manifests) -> None:
    container, _ = server(overlay)
    assert container["readinessProbe"]["httpGet"]["path"] == "/v1/models/drug_detector/metadata"
    assert container["livenessProbe"].keys() & {"httpGet", "tcpSocket"} == {"tcpSocket"}
    assert container["startupProbe"].keys() & {"httpGet", "tcpSocket"} == {"tcpSocket"}


def test_a_pod_has_time_to_drain(overlay: Manifests) -> None:
    container, _ = server(overlay)
    spec = overlay.get("Deployment", "tf-serving")["spec"]["template"]["spec"]
    drain_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert 0 < drain_s < spec["terminationGracePeriodSeconds"]


def batching(overlay_gpu: Manifests) -> tuple[dict[str, int], dict[str, list[int]]]:
    """The batching parameters, read as protobuf's text form."""
    _, flags = server(overlay_gpu)
    (config,) = [each for each in overlay_gpu.of_kind("ConfigMap") if "batching.pbtxt" in each["data"]]
    assert Path(flags["--batching_parameters_file"]).name in config["data"]
    single: dict[str, int] = {}
    repeated: dict[str, list[int]] = {}
    for line in config["data"]["batching.pbtxt"].splitlines():
        if line and not line.startswith("#"):
            match = re.fullmatch(r"(\w+) \{ value: (\d+) \}|(\w+): (\d+)", line)
            assert match, line
            if match[1]:
                assert match[1] not in single
                single[match[1]] = int(match[2])
            else:
                repeated.setdefault(match[3], []).append(int(match[4]))
    return single, repeated


def test_batching_fits_the_fleet_and_the_warm_up(render: Render, settings: dict[str, str]) -> None:
    from sniffer.core.settings import fleet_settings

    single, repeated = batching(render("overlays/gpu"))
    assert single.keys() == {"max_batch_size", "batch_timeout_micros", "num_batch_threads", "max_enqueued_batches"}
    assert repeated.keys() == {"allowed_batch_sizes"}
    sizes = repeated["allowed_batch_sizes"]
    assert sizes == sorted(sizes) and sizes[-1] == single["max_batch_size"]  # else the server does not start
    assert fleet_settings(settings).batch_size <= single["max_batch_size"]  # else it refuses each request
    assert tuple(sizes) == warm_up_sizes()


def warm_up_sizes() -> tuple[int, ...]:
    """The constant of sniffer_model.export.warmup, which takes eight seconds to import."""
    for node in ast.parse((MODEL_DIR / "export" / "warmup.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "BATCH_SIZES":
            sizes: tuple[int, ...] = ast.literal_eval(node.value)
            return sizes
    raise AssertionError("sniffer_model.export.warmup has no BATCH_SIZES")


def test_the_parameters_files_are_where_the_flags_say(overlay: Manifests) -> None:
    container, flags = server(overlay)
    spec = overlay.get("Deployment", "tf-serving")["spec"]["template"]["spec"]
    (mount,) = [each for each in container["volumeMounts"] if each["name"] == "parameters"]
    (volume,) = [each for each in spec["volumes"] if each["name"] == "parameters"]
    given = overlay.get("ConfigMap", volume["configMap"]["name"])["data"]
    named = {Path(flags[flag]) for flag in ("--monitoring_config_file", "--batching_parameters_file") if flag in flags}
    assert named == {Path(mount["mountPath"], name) for name in given}


def test_a_gpu_is_asked_for_only_where_there_are_some(render: Render) -> None:
    for name, gpus in (("overlays/gpu", 1), ("overlays/cpu", 0)):
        manifests = render(name)
        container, flags = server(manifests)
        assert container["resources"]["limits"].get("nvidia.com/gpu", "0") == str(gpus)
        assert container["image"].endswith("-gpu") == bool(gpus)
        assert ("--enable_batching" in flags) == bool(gpus)
        tolerations = manifests.get("Deployment", "tf-serving")["spec"]["template"]["spec"].get("tolerations", [])
        assert [each["key"] for each in tolerations] == ["nvidia.com/gpu"] * gpus
