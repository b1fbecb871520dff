"""The server's flags, its config file, and the command line that the local stack starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.serve_flags import parse_flags

from sniffer.core.errors import SettingsError
from sniffer_serve.command import as_configured, model_server_command, newest_of
from sniffer_serve.config import ModelEntry, parse_model_config, read_model_config
from sniffer_serve.server import PROGRAM
from sniffer_serve.versions import All, Latest, RetryPolicy, Specific

LEAST = ["--rest_api_port=8501", "--model_base_path=/models/m"]


def test_the_defaults_are_tensorflow_servings() -> None:
    settings = parse_flags(LEAST)
    assert settings.rest_api_host == "127.0.0.1"
    assert settings.rest_api_timeout_s == 30
    assert settings.model_name == "default"
    assert settings.model_config_poll_s == 0
    assert settings.file_system_poll_s == 1
    assert settings.retry == RetryPolicy(5, 60.0)
    assert settings.warm_up_iterations == 1
    assert not settings.allow_labels_for_unavailable


def test_a_value_follows_an_equals_sign_or_stands_alone() -> None:
    for flags in (["--model_name=m", "--max_num_load_retries=2"], ["--model_name", "m", "--max_num_load_retries", "2"]):
        settings = parse_flags([*LEAST, *flags])
        assert (settings.model_name, settings.retry.max_retries) == ("m", 2)


@pytest.mark.parametrize(
    ("flags", "iterations"),
    [
        (["--enable_model_warmup=false"], 0),
        (["--enable_model_warmup", "false"], 0),
        (["--enable_model_warmup"], 1),
        (["--num_request_iterations_for_warmup=3"], 3),
        (["--num_request_iterations_for_warmup=0"], 1),
    ],
)
def test_warm_up_can_be_repeated_or_left_out(flags: list[str], iterations: int) -> None:
    assert parse_flags([*LEAST, *flags]).warm_up_iterations == iterations


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--rest_api_port=8501"], "--model_base_path"),
        (["--model_base_path=/m"], "--rest_api_port"),
        ([*LEAST, "--rest_api_port=0"], "--rest_api_port"),
        ([*LEAST, "--rest_api_port=70000"], "--rest_api_port"),
        ([*LEAST, "--port=8500"], "gRPC is not served"),
        ([*LEAST, "--enable_batching"], "--enable_batching"),
        ([*LEAST, "--model_nam=m"], "--model_nam"),
        ([*LEAST, "--max_num_load_retries=-1"], "--max_num_load_retries"),
        ([*LEAST, "--file_system_poll_wait_seconds=soon"], "--file_system_poll_wait_seconds"),
        ([*LEAST, "--enable_model_warmup=perhaps"], "--enable_model_warmup"),
    ],
)
def test_a_wrong_flag_is_named_in_one_line(flags: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        assert PROGRAM.main(flags) == 2
    except SystemExit as ended:
        assert ended.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line


def test_the_program_refuses_a_wrong_flag_at_once_with_status_2() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "sniffer_serve.server", "--grpc=1"],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert run.returncode == 2
    assert run.stderr.splitlines() == ["sniffer serve: there is no flag --grpc (see sniffer serve --help)"]


def test_the_config_file_gives_names_paths_policies_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "models.config"
    path.write_text("""
        model_config_list {
          config { name: "a" base_path: "/models/a" model_platform: "tensorflow" }
          config { name: "b" base_path: "/models/b" model_platform: "tensorflow"
            model_version_policy { specific { versions: 1 versions: 2 } }
            version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 } }
          config { name: "c" base_path: "/models/c" model_type: TENSORFLOW
            model_version_policy { latest { num_versions: 3 } } }
          config { name: "d" base_path: "/models/d" model_platform: "tensorflow" model_version_policy { all {} } }
        }
    """)
    assert read_model_config(path) == [
        ModelEntry("a", Path("/models/a"), Latest(1), {}),
        ModelEntry("b", Path("/models/b"), Specific(frozenset({1, 2})), {"stable": 1, "canary": 2}),
        ModelEntry("c", Path("/models/c"), Latest(3), {}),
        ModelEntry("d", Path("/models/d"), All(), {}),
    ]


MODEL = 'name: "a" base_path: "/a" model_platform: "tensorflow"'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no model_config_list"),
        ("model_config_list { config { nam", "not a ModelServerConfig"),
        (f"model_config_list {{ config {{ {MODEL} }} config {{ {MODEL} }} }}", "'a' is listed more than once"),
        ('model_config_list { config { base_path: "/a" model_platform: "tensorflow" } }', "no name"),
        ('model_config_list { config { name: "a" base_path: "a" model_platform: "tensorflow" } }', "absolute path"),
        ('model_config_list { config { name: "a" base_path: "/a" } }', "model_platform"),
        (f"model_config_list {{ config {{ {MODEL} model_version_policy {{ specific {{}} }} }} }}", "no version"),
        ("custom_model_config {}", "custom_model_config is not supported"),
    ],
)
def test_a_config_that_tensorflow_serving_would_refuse_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint) as caught:
        parse_model_config(text)
    assert "\n" not in str(caught.value)


def test_a_config_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--model_config_file: cannot read .*models\.config"):
        read_model_config(tmp_path / "models.config")


def test_without_tensorflow_serving_our_server_is_started_and_its_flags_are_good(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    command = model_server_command(newest_of("drug_detector", tmp_path / "models"), 8501)
    assert command[:3] == [sys.executable, "-m", "sniffer_serve.server"]
    settings = parse_flags(command[3:])
    assert (settings.model_name, settings.model_base_path, settings.rest_api_port) == (
        "drug_detector",
        tmp_path / "models",
        8501,
    )
    configured = parse_flags(model_server_command(as_configured(tmp_path / "models.config"), 8501)[3:])
    assert configured.model_config_file == tmp_path / "models.config"
    assert (configured.model_config_poll_s, configured.allow_labels_for_unavailable) == (1, True)


def test_a_tensorflow_serving_on_path_is_preferred_without_a_grpc_port(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = tmp_path / "tensorflow_model_server"
    real.write_text("#!/bin/sh\n")
    real.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    command = model_server_command(newest_of("drug_detector", Path("/models")), 8501)
    assert command[0] == str(real)
    assert {"--model_name=drug_detector", "--model_base_path=/models", "--rest_api_port=8501"} <= set(command)
    assert "--port=0" in command
    (socket_path,) = (flag.partition("=")[2] for flag in command if flag.startswith("--grpc_socket_path="))
    assert len(socket_path.encode()) < 107


def test_the_launcher_does_not_load_tensorflow() -> None:
    code = "import sys, sniffer_serve.command; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0
