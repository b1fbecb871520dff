"""docker-compose.yaml runs images of others by their digests; by tags only where somebody says so."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.compose import Services, env_file
from support.imports import CHECKOUT
from support.load_script import load_script

TAGS = CHECKOUT / "docker" / "tags.env"
STANDINS = CHECKOUT / "tests" / "docker" / "standins.env"
FILES = {
    "cpu": ["docker-compose.yaml"],
    "gpu": ["docker-compose.yaml", "docker/gpu.yaml"],
    "small": ["docker-compose.yaml", "docker/small.yaml"],
    "stand-ins": ["docker-compose.yaml", "tests/docker/standins.yaml"],
}
BY_TAG = "SNIFFER_IMAGES_BY_TAG"
DIGEST = f"sha256:{'0' * 64}"
REQUIRED = re.compile(r"\$\{(SNIFFER_\w+_IMAGE):\?[^}]*docker/pin_images\.py --compose[^}]*docker/tags\.env[^}]*\}")


def compose_config(names: list[str], env: Path) -> subprocess.CompletedProcess[str]:
    """What Compose makes of the files with the variables of that file alone."""
    files = [flag for name in names for flag in ("-f", name)]
    return subprocess.run(
        ["docker", "compose", "--env-file", str(env), *files, "config"],
        cwd=CHECKOUT,
        env={name: value for name, value in os.environ.items() if not name.startswith("SNIFFER_")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def compose_is_here() -> bool:
    """Whether this machine has Compose 2; it needs no engine to read files."""
    try:
        return subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


with_compose = pytest.mark.skipif(not compose_is_here(), reason="needs the command `docker compose`")


def test_no_image_of_others_has_a_default(compose: dict[str, Any]) -> None:
    gpu = yaml.safe_load((CHECKOUT / "docker" / "gpu.yaml").read_text())
    named = [service.get("image", "") for document in (compose, gpu) for service in document["services"].values()]
    others = {image for image in named if image and not image.startswith("sniffer-bot/")}
    asked = {REQUIRED.fullmatch(image) for image in [*others, compose["x-build"]["args"]["PYTHON_IMAGE"]]}
    assert None not in asked
    assert {found[1] for found in asked if found} == env_file(TAGS).keys() - {BY_TAG}


def test_prepare_sees_every_image_of_others(services: Services) -> None:
    checked = services["prepare"]["environment"]
    assert checked == {
        **{name: f"${{{name}}}" for name in env_file(TAGS) if name not in (BY_TAG, "SNIFFER_SERVING_GPU_IMAGE")},
        BY_TAG: f"${{{BY_TAG}:-}}",
    }
    gpu = yaml.safe_load((CHECKOUT / "docker" / "gpu.yaml").read_text())["services"]["prepare"]
    assert gpu == {"environment": {"SNIFFER_SERVING_IMAGE": "${SNIFFER_SERVING_GPU_IMAGE}"}}


def test_the_base_of_our_images_is_the_dockerfiles(version: str) -> None:
    [default] = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", (CHECKOUT / "Dockerfile").read_text(), re.MULTILINE)
    assert env_file(TAGS)["SNIFFER_PYTHON_IMAGE"] == env_file(STANDINS)["SNIFFER_PYTHON_IMAGE"] == default
    assert env_file(STANDINS)["SNIFFER_SERVING_IMAGE"] == f"sniffer-bot/trainer:{version}"


@pytest.mark.parametrize(
    "image",
    ["mysql:8.4.7", "mysql", "", "mysql:8.4.7@sha256:1234", f"mysql:8.4.7@{DIGEST}0", f"mysql@{DIGEST}:8.4.7"],
)
def test_prepare_refuses_an_image_without_a_digest(
    image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SNIFFER_MYSQL_IMAGE", image)
    prepare = load_script(CHECKOUT / "docker" / "prepare.py")
    assert prepare.main([f"--secrets={tmp_path / 'secrets'}", f"--data={tmp_path / 'data'}"]) == 2
    error = capsys.readouterr().err
    assert f"SNIFFER_MYSQL_IMAGE={image} names no digest" in error and "docker/pin_images.py --compose" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "environ",
    [
        {"SNIFFER_MYSQL_IMAGE": f"mysql:8.4.7@{DIGEST}", "SNIFFER_S3_IMAGE": f"mirror.example:5000/s3@{DIGEST}"},
        {**env_file(TAGS)},
    ],
)
def test_prepare_takes_digests_and_tags_that_somebody_asked_for(environ: dict[str, str]) -> None:
    load_script(CHECKOUT / "docker" / "prepare.py").check_images(environ)


@pytest.mark.parametrize("said", ["", "0", "true", "yes "])
def test_tags_are_taken_by_one_word_alone(said: str) -> None:
    with pytest.raises(Exception, match="names no digest"):
        load_script(CHECKOUT / "docker" / "prepare.py").check_images({**env_file(TAGS), BY_TAG: said})


@with_compose
@pytest.mark.parametrize("name", FILES)
def test_compose_starts_nothing_without_a_word_on_its_images(name: str, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("")
    refused = compose_config(FILES[name], tmp_path / "env")
    assert refused.returncode != 0
    assert "_IMAGE is missing a value: run docker/pin_images.py --compose" in refused.stderr


@with_compose
@pytest.mark.parametrize("name", FILES)
def test_compose_reads_the_tags_and_the_stand_ins(name: str) -> None:
    env = STANDINS if name == "stand-ins" else TAGS
    read = compose_config(FILES[name], env)
    assert read.returncode == 0, read.stderr
    services = yaml.safe_load(read.stdout)["services"]
    images = {each["image"] for each in services.values() if not each["image"].startswith("sniffer-bot/airflow")}
    expected = {image for variable, image in env_file(env).items() if variable.endswith(("MYSQL_IMAGE", "S3_IMAGE"))}
    expected.add(env_file(env)["SNIFFER_SERVING_GPU_IMAGE" if name == "gpu" else "SNIFFER_SERVING_IMAGE"])
    assert {image for image in images if not image.startswith(("sniffer-bot/fleet", "sniffer-bot/review"))} == expected
    assert set(expected) <= set(services["prepare"]["environment"].values())
