"""What the manifests start: modules that exist, flags that those programs take, and numbers that fit each other."""

import argparse
import ast
import importlib
import importlib.util
import re
from pathlib import Path

import pytest
from support.serve_flags import parse_flags

from sniffer_serve.config import read_model_config

MODEL_DIR = Path(importlib.util.find_spec("sniffer_model").origin).parent

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


class Parsed(Exception):
    """Carries what a program made of its flags out of the program."""


def parsed_by_program(module, args, monkeypatch):
    """What `python -m module args` reads from its flags; fails where the program would end with a usage error."""
    parse_args = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser, argv=None, namespace=None):
        raise Parsed(parse_args(parser, argv, namespace))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    with pytest.raises(Parsed) as parsed:
        program = importlib.import_module(module)
        if hasattr(program, "__path__"):
            program = importlib.import_module(f"{module}.__main__")
        program.main(args)
    return parsed.value.args[0]


def python_programs(manifests):
    """(module, its flags with $(NAME) replaced) of every container that starts one of ours with its own module."""
    for container in manifests.containers():
        if container["command"][:2] == ["python", "-m"] and len(container["command"]) == 3:
            args = [re.sub(r"\$\((\w+)\)", r"value-of-\1", arg) for arg in container.get("args", [])]
            yield container["command"][2], args


def test_every_flag_is_one_that_its_program_takes(manifests, monkeypatch):
    started = list(python_programs(manifests))
    assert started
    for module, args in started:
        if module.startswith("sniffer_rollout"):
            pytest.importorskip(module, reason="the rollout is not there yet")
        parsed_by_program(module, [*args, *AIRFLOW_ADDS.get(module, [])], monkeypatch)
        monkeypatch.undo()


def test_a_flag_that_a_program_does_not_take_is_found(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        parsed_by_program("sniffer.scan.consume", ["--endpoint=tcp://a:1", "--bucket=b"], monkeypatch)
    assert "--bucket" in capsys.readouterr().err


def test_every_program_has_a_manifest(everything):
    started = {module for module, _ in python_programs(everything)}
    assert started == {
        "sniffer.scan",
        "sniffer.scan.produce",
        "sniffer.scan.consume",
        "sniffer.scan.migrate",
        "sniffer_rollout.sync",
        "sniffer_rollout",
    }
    (trainer,) = [pod for name, pod in everything.pods() if name == "sniffer-trainer"]
    assert trainer["spec"]["containers"][0]["command"] == ["python", "-m"]  # a step's module comes with its flags


def server(manifests):
    """The container of TensorFlow Serving, and its flags."""
    (container,) = manifests.get("Deployment", "tf-serving")["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["tensorflow_model_server"]
    return container, dict(arg.split("=", 1) for arg in container["args"])


def flags_of(manifests, name):
    """The flags of an init container of the model server's pod."""
    spec = manifests.get("Deployment", "tf-serving")["spec"]["template"]["spec"]
    (container,) = [each for each in spec["initContainers"] if each["name"] == name]
    return dict(arg.partition("=")[::2] for arg in container["args"])


def test_the_model_servers_flags_are_tensorflow_servings(overlay):
    container, flags = server(overlay)
    settings = parse_flags([arg for arg in container["args"] if arg.partition("=")[0] not in TENSORFLOW_SERVINGS_OWN])
    assert settings.rest_api_port == container["ports"][0]["containerPort"]
    assert settings.allow_labels_for_unavailable
    assert settings.retry.max_retries == 1
    assert flags["--port"] == "0" and flags["--grpc_socket_path"]  # gRPC cannot be off without a socket


def test_the_side_car_writes_what_the_server_reads(overlay):
    _, flags = server(overlay)
    for name in ("sync-models-once", "sync-models"):
        sync = flags_of(overlay, name)
        assert sync["--config"] == flags["--model_config_file"]
        assert ("--once" in sync) == (name == "sync-models-once")


def test_the_server_and_its_side_car_share_the_versions(overlay):
    spec = overlay.get("Deployment", "tf-serving")["spec"]["template"]["spec"]
    for container in [*spec["initContainers"], *spec["containers"]]:
        (mount,) = [each for each in container["volumeMounts"] if each["name"] == "models"]
        flags = dict(arg.partition("=")[::2] for arg in container["args"])
        named = {"--config", "--models-dir", "--model_config_file"} & flags.keys()
        assert named and all(Path(flags[flag]).is_relative_to(mount["mountPath"]) for flag in named)
        assert mount.get("readOnly", False) == (container["name"] == "tf-serving")


def test_the_side_car_is_a_native_one_and_comes_after_the_first_sync(overlay):
    first, side_car = overlay.get("Deployment", "tf-serving")["spec"]["template"]["spec"]["initContainers"]
    assert (first["name"], side_car["name"]) == ("sync-models-once", "sync-models")
    assert "restartPolicy" not in first
    assert side_car["restartPolicy"] == "Always"


def test_what_is_aspired_is_mounted_as_a_folder_that_may_be_missing(overlay):
    spec = overlay.get("Deployment", "tf-serving")["spec"]["template"]["spec"]
    (volume,) = [each for each in spec["volumes"] if each["name"] == "aspired"]
    assert volume["configMap"] == {"name": "tf-serving-aspired", "optional": True}
    (mount,) = [each for each in spec["initContainers"][1]["volumeMounts"] if each["name"] == "aspired"]
    assert "subPath" not in mount
    assert Path(flags_of(overlay, "sync-models")["--aspired"]).parent == Path(mount["mountPath"])
    # It is the rollout's alone: an apply of ours must not take it back.
    assert "tf-serving-aspired" not in {each["metadata"]["name"] for each in overlay.of_kind("ConfigMap")}


def test_a_fresh_installation_serves_an_empty_list(overlay, tmp_path):
    """With no version and no rollout yet, the init container ends well, and the server has something to start on."""
    sync = pytest.importorskip("sniffer_rollout.sync", reason="the rollout is not there yet")
    paths = ("--models-dir", "--aspired", "--config")
    flags = flags_of(overlay, "sync-models-once") | {"--model-base-path": ""}
    args = [
        f"{name}={tmp_path}{value}" if name in paths else f"{name}={value}"
        for name, value in flags.items()
        if name != "--once"
    ]
    assert sync.main([*args, "--once"]) == 0
    assert read_model_config(Path(f"{tmp_path}{flags['--config']}")) == []


def test_the_server_gives_up_a_request_before_the_fleet_does(overlay, settings):
    from sniffer.core.settings import serving_settings

    _, flags = server(overlay)
    assert int(flags["--rest_api_timeout_in_ms"]) / 1000 < serving_settings(settings).read_timeout_s


def test_probes_ask_what_tells_a_served_model_from_a_running_server(overlay):
    container, _ = server(overlay)
    assert container["readinessProbe"]["httpGet"]["path"] == "/v1/models/drug_detector/metadata"
    assert container["livenessProbe"].keys() & {"httpGet", "tcpSocket"} == {"tcpSocket"}
    assert container["startupProbe"].keys() & {"httpGet", "tcpSocket"} == {"tcpSocket"}


def test_a_pod_has_time_to_drain(overlay):
    container, _ = server(overlay)
    spec = overlay.get("Deployment", "tf-serving")["spec"]["template"]["spec"]
    drain_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert 0 < drain_s < spec["terminationGracePeriodSeconds"]


def batching(overlay_gpu):
    """The batching parameters, read as protobuf's text form."""
    _, flags = server(overlay_gpu)
    (config,) = [each for each in overlay_gpu.of_kind("ConfigMap") if "batching.pbtxt" in each["data"]]
    assert Path(flags["--batching_parameters_file"]).name in config["data"]
    single, repeated = {}, {}
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


def test_batching_fits_the_fleet_and_the_warm_up(render, settings):
    from sniffer.core.settings import fleet_settings

    single, repeated = batching(render("overlays/gpu"))
    assert single.keys() == {"max_batch_size", "batch_timeout_micros", "num_batch_threads", "max_enqueued_batches"}
    assert repeated.keys() == {"allowed_batch_sizes"}
    sizes = repeated["allowed_batch_sizes"]
    assert sizes == sorted(sizes) and sizes[-1] == single["max_batch_size"]  # else the server does not start
    assert fleet_settings(settings).batch_size <= single["max_batch_size"]  # else it refuses each request
    assert tuple(sizes) == warm_up_sizes()


def warm_up_sizes():
    """The constant of sniffer_model.export.warmup, which takes eight seconds to import."""
    for node in ast.parse((MODEL_DIR / "export" / "warmup.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "BATCH_SIZES":
            return ast.literal_eval(node.value)
    raise AssertionError("sniffer_model.export.warmup has no BATCH_SIZES")


def test_the_parameters_files_are_where_the_flags_say(overlay):
    container, flags = server(overlay)
    spec = overlay.get("Deployment", "tf-serving")["spec"]["template"]["spec"]
    (mount,) = [each for each in container["volumeMounts"] if each["name"] == "parameters"]
    (volume,) = [each for each in spec["volumes"] if each["name"] == "parameters"]
    given = overlay.get("ConfigMap", volume["configMap"]["name"])["data"]
    named = {Path(flags[flag]) for flag in ("--monitoring_config_file", "--batching_parameters_file") if flag in flags}
    assert named == {Path(mount["mountPath"], name) for name in given}


def test_a_gpu_is_asked_for_only_where_there_are_some(render):
    for name, gpus in (("overlays/gpu", 1), ("overlays/cpu", 0)):
        manifests = render(name)
        container, flags = server(manifests)
        assert container["resources"]["limits"].get("nvidia.com/gpu", 0) == gpus
        assert container["image"].endswith("-gpu") == bool(gpus)
        assert ("--enable_batching" in flags) == bool(gpus)
        tolerations = manifests.get("Deployment", "tf-serving")["spec"]["template"]["spec"].get("tolerations", [])
        assert [each["key"] for each in tolerations] == ["nvidia.com/gpu"] * gpus
