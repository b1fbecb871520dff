"""pyproject.toml alone lists dependencies; requirements.txt and the lists of the images are fresh exports of it."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sniffer_local.lock import LISTS, LOCK, PYTHON, pins, requirements, stale


@pytest.fixture(scope="module")
def pyproject(repository: Path) -> dict[str, Any]:
    """pyproject.toml as a whole."""
    return tomllib.loads((repository / "pyproject.toml").read_text())


def entries(text: str) -> dict[str, tuple[str, ...]]:
    """Each package of a list with its version and hashes."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if line and line[0] not in "# ":
            name, _, version = line.rstrip(" \\").partition("==")
            found[name] = [version]
        elif line.startswith("    --hash="):
            found[name].append(line.strip(" \\"))
    return {name: tuple(lines) for name, lines in found.items()}


def test_no_list_is_stale(repository: Path) -> None:
    assert stale(repository) == [], "run `make lock`"


@pytest.mark.parametrize(
    ("old", "new", "lists"),
    [
        ('"pyzmq>=', '"pyzmq>=0,>=', {LOCK, "docker/fleet.txt", "docker/airflow-local.txt"}),
        ('"alembic>=', '"alembic>=0,>=', set(LISTS) - {"docker/build.txt", "tests/docker/standin-s3.txt"}),
        ('"ruff>=', '"ruff>=0,>=', {LOCK}),
        ('"setuptools>=', '"setuptools>=0,>=', {LOCK, "docker/build.txt"}),
        ('"moto[', '"moto[all,', {LOCK, "tests/docker/standin-s3.txt"}),
        ("line-length = ", "line-length = 1", set()),
    ],
)
def test_a_changed_requirement_makes_the_lists_stale_that_have_it(
    repository: Path, tmp_path: Path, old: str, new: str, lists: set[str]
) -> None:
    for path in LISTS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text((repository / path).read_text())
    text = (repository / "pyproject.toml").read_text()
    assert text.count(old) == 1
    (tmp_path / "pyproject.toml").write_text(text.replace(old, new))
    assert set(stale(tmp_path)) == lists


def test_a_missing_list_is_stale(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text((repository / "pyproject.toml").read_text())
    assert set(stale(tmp_path)) == set(LISTS)


@pytest.mark.parametrize("path", LISTS)
def test_every_package_has_hashes_and_no_index_is_named(repository: Path, path: str) -> None:
    text = (repository / path).read_text()
    packages = entries(text)
    assert len(packages) == len(pins(text)) == len(re.findall(r"^\S+==", text, re.MULTILINE))
    assert all(len(lines) > 1 for lines in packages.values())
    assert not re.search(r"://|^\s*-[^-]|--(?!hash=)\w", text, re.MULTILINE)


@pytest.mark.parametrize("path", LISTS)
def test_every_list_is_a_part_of_the_lock(repository: Path, path: str) -> None:
    assert entries((repository / path).read_text()).items() <= entries((repository / LOCK).read_text()).items()


@pytest.mark.parametrize("path", LISTS)
def test_every_requirement_is_met_by_its_pin(repository: Path, pyproject: dict[str, Any], path: str) -> None:
    pinned = pins((repository / path).read_text())
    wanted = [Requirement(text) for text in requirements(pyproject, LISTS[path])]
    assert wanted
    for requirement in wanted:
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


def test_the_lock_is_for_the_oldest_python(pyproject: dict[str, Any]) -> None:
    assert pyproject["project"]["requires-python"] == f">={PYTHON}"


def test_a_package_has_one_range_wherever_it_is_required(pyproject: dict[str, Any]) -> None:
    extras = pyproject["project"]["optional-dependencies"].values()
    groups = pyproject["dependency-groups"].values()
    lists = [pyproject["build-system"]["requires"], pyproject["project"]["dependencies"], *extras, *groups]
    ranges: dict[str, set[str]] = {}
    for requirement in (Requirement(text) for texts in lists for text in texts):
        if requirement.name != "sniffer-bot":
            ranges.setdefault(canonicalize_name(requirement.name), set()).add(str(requirement.specifier))
    assert {name: found for name, found in ranges.items() if len(found) > 1} == {}


def test_signing_in_with_fab_is_the_clusters_image_alone(repository: Path, pyproject: dict[str, Any]) -> None:
    """An Airflow that is there has its own way of signing in, and its packages may contradict FAB's."""
    fab = "apache-airflow-providers-fab"
    assert {path for path in LISTS if fab in pins((repository / path).read_text())} == {LOCK, "docker/airflow.txt"}
    assert not [
        text for texts in pyproject["project"]["optional-dependencies"].values() for text in texts if fab in text
    ]


def test_nothing_else_lists_dependencies(repository: Path) -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=repository, capture_output=True, text=True, check=True)
    lists = re.compile(
        r"(^|/)(requirements.*|constraints.*|setup\.py|setup\.cfg|Pipfile|environment\.ya?ml|[^/]*\.in)$"
    )
    found = {path for path in tracked.stdout.splitlines() if lists.search(path)}
    assert found == {LOCK}
