"""docker/pin_images.py: the digests behind the tags are written where Kustomize, Airflow and the chart read them."""

from __future__ import annotations

import hashlib
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from support.compose import env_file
from support.imports import CHECKOUT
from support.load_script import load_script
from support.manifests import render_folder

from sniffer_airflow.executors.templates import TEMPLATES_VARIABLE, pod_template

SCRIPT = CHECKOUT / "docker" / "pin_images.py"

Pin = Callable[..., subprocess.CompletedProcess[str]]


def digest(reference: str) -> str:
    return f"sha256:{hashlib.sha256(reference.encode()).hexdigest()}"


@pytest.fixture
def k8s(tmp_path: Path) -> Path:
    copied = tmp_path / "k8s"
    shutil.copytree(CHECKOUT / "k8s", copied)
    return copied


@pytest.fixture
def pin(tmp_path: Path, k8s: Path) -> Pin:
    """Runs the script where `docker` answers with a digest made from the reference; and refuses what it cannot know."""
    fake = tmp_path / "bin" / "docker"
    fake.parent.mkdir()
    fake.write_text(
        f"#!{sys.executable}\n"
        "import hashlib, os, sys\n"
        "if os.path.exists(sys.argv[0] + '-without-buildx'):\n"
        "    sys.exit('docker: unknown command: docker buildx\\n\\nRun docker --help for more information')\n"
        "if sys.argv[1:] == ['buildx', 'version']:\n"
        "    sys.exit()\n"
        "*words, reference = sys.argv[1:]\n"
        "assert words == ['buildx', 'imagetools', 'inspect', '--format', '{{.Manifest.Digest}}'], words\n"
        "if 'missing' in reference:\n"
        "    sys.exit('ERROR: ' + reference + ': not found')\n"
        "print('sha256:' + hashlib.sha256(reference.encode()).hexdigest())\n"
    )
    fake.chmod(0o755)

    def run(*flags: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", SCRIPT, "--k8s", k8s, *flags],
            env={"PATH": str(fake.parent)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_what_is_applied_and_what_airflow_starts_is_pinned(
    pin: Pin, k8s: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {each["name"]: each for each in images(k8s)}
    assert pin().returncode == 0
    for each in images(k8s):
        reference = f"{each.get('newName', each['name'])}:{each['newTag']}"
        assert each == {**before[each["name"]], "digest": digest(reference)}
    for name in ("overlays/gpu", "overlays/cpu", "pods", "fleet"):
        for container in render_folder(k8s / name).containers():
            assert container["image"].partition("@")[2].startswith("sha256:"), container["image"]
    monkeypatch.setenv(TEMPLATES_VARIABLE, str(k8s))
    (container,) = pod_template("sniffer")["spec"]["containers"]
    assert container["image"] == f"sniffer-bot/fleet@{digest('sniffer-bot/fleet:0.1.0')}"


def test_airflows_image_is_pinned_by_where_it_was_pushed(pin: Pin, k8s: Path) -> None:
    assert pin("--airflow", "registry.example/airflow").returncode == 0
    values = yaml.safe_load((k8s / "airflow-values.yaml").read_text())
    assert values["images"]["airflow"] == {
        "repository": "sniffer-bot/airflow",
        "tag": "0.1.0",
        "digest": digest("registry.example/airflow:0.1.0"),
    }


def test_comments_stay_and_a_second_run_changes_nothing(pin: Pin, k8s: Path) -> None:
    path = k8s / "components" / "images" / "kustomization.yaml"
    before = path.read_text()
    pin()
    pinned = path.read_text()
    assert [line for line in pinned.splitlines() if "digest:" not in line] == before.splitlines()
    assert pin().stdout == ""
    assert path.read_text() == pinned


def test_a_check_names_what_is_not_pinned_or_pinned_to_another_tag(pin: Pin, k8s: Path) -> None:
    path = k8s / "components" / "images" / "kustomization.yaml"
    before = path.read_text()
    done = pin("--check")
    assert done.returncode == 1 and "sniffer-bot/fleet:0.1.0 is sha256:" in done.stdout
    assert path.read_text() == before
    pin()
    assert pin("--check").returncode == 0
    path.write_text(path.read_text().replace("newTag: 2.20.0-gpu", "newTag: 2.21.0-gpu"))
    done = pin("--check")
    assert done.returncode == 1 and done.stdout.startswith("tensorflow/serving:2.21.0-gpu is sha256:")
    assert pin().returncode == 0
    assert pin("--check").returncode == 0


def test_an_image_that_is_not_there_is_named_and_nothing_is_written(pin: Pin, k8s: Path) -> None:
    path = k8s / "components" / "images" / "kustomization.yaml"
    path.write_text(path.read_text().replace("newTag: 2.20.0-gpu", "newTag: missing"))
    before = path.read_text()
    done = pin()
    assert done.returncode == 2 and "tensorflow/serving:missing cannot be had" in done.stderr
    assert path.read_text() == before


def test_compose_gets_its_images_by_digest_and_other_lines_stay(pin: Pin, tmp_path: Path) -> None:
    tags, env = env_file(CHECKOUT / "docker" / "tags.env"), tmp_path / ".env"
    pinned = {name: f"{tag}@{digest(tag)}" for name, tag in tags.items() if name.endswith("_IMAGE")}
    assert pin("--compose", "--env", str(env)).returncode == 0
    assert env_file(env) == pinned
    # As somebody keeps it: other settings, an image of before, tags that were good enough until now, no last newline.
    env.write_text(
        "# mine\nCOMPOSE_FILE=docker-compose.yaml:docker/gpu.yaml\nSNIFFER_MYSQL_IMAGE=mysql:8.4.6@sha256:0\n"
        "SNIFFER_IMAGES_BY_TAG=1\nSNIFFER_CPUS=8"
    )
    before = env.read_text()
    checked = pin("--compose", "--env", str(env), "--check")
    assert checked.returncode == 1 and env.read_text() == before
    assert (
        "SNIFFER_MYSQL_IMAGE is mysql:8.4.7@sha256:" in checked.stdout and "not mysql:8.4.6@sha256:0" in checked.stdout
    )
    assert "SNIFFER_IMAGES_BY_TAG is set" in checked.stdout
    assert pin("--compose", "--env", str(env)).returncode == 0
    assert env.read_text().startswith("# mine\nCOMPOSE_FILE=docker-compose.yaml:docker/gpu.yaml\nSNIFFER_MYSQL_IMAGE=")
    others = {"COMPOSE_FILE": "docker-compose.yaml:docker/gpu.yaml", "SNIFFER_CPUS": "8"}
    assert env_file(env) == {**others, **pinned}
    assert pin("--compose", "--env", str(env), "--check").returncode == 0
    load_script(CHECKOUT / "docker" / "prepare.py").check_images(env_file(env))


def test_an_image_of_compose_that_is_not_there_is_named_and_nothing_is_written(pin: Pin, tmp_path: Path) -> None:
    tags, env = tmp_path / "tags.env", tmp_path / ".env"
    tags.write_text("SNIFFER_MYSQL_IMAGE=mirror.example/mysql:missing\n")
    done = pin("--compose", "--tags", str(tags), "--env", str(env))
    assert done.returncode == 2 and "mirror.example/mysql:missing cannot be had" in done.stderr
    tags.write_text("")
    done = pin("--compose", "--tags", str(tags), "--env", str(env))
    assert done.returncode == 2 and "names no SNIFFER_…_IMAGE" in done.stderr
    assert not env.exists()


def test_a_variable_that_is_there_twice_is_pinned_in_both_places(pin: Pin, tmp_path: Path) -> None:
    """Whoever has appended docker/tags.env: Compose takes the last of them."""
    env = tmp_path / ".env"
    env.write_text("SNIFFER_CPUS=8\n" + 2 * (CHECKOUT / "docker" / "tags.env").read_text())
    assert pin("--compose", "--env", str(env)).returncode == 0
    load_script(CHECKOUT / "docker" / "prepare.py").check_images(env_file(env))
    assert not re.search(r"_IMAGE=[^@\n]*$", env.read_text(), re.MULTILINE)
    assert pin("--compose", "--env", str(env), "--check").stdout == ""


def test_docker_without_buildx_is_told_as_such(pin: Pin, tmp_path: Path) -> None:
    (tmp_path / "bin" / "docker-without-buildx").touch()
    done = pin("--compose", "--env", str(tmp_path / ".env"))
    assert done.returncode == 2 and "docker has no buildx plugin here: install it" in done.stderr


def test_without_docker_it_says_so(
    k8s: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(os.environ, "PATH", "/nonexistent")
    assert runpy.run_path(str(SCRIPT))["main"](["--k8s", str(k8s)]) == 2
    assert "no docker here" in capsys.readouterr().err


def images(k8s: Path) -> list[dict[str, str]]:
    found: list[dict[str, str]] = yaml.safe_load((k8s / "components" / "images" / "kustomization.yaml").read_text())[
        "images"
    ]
    return found
