"""Fixtures of the images and of docker-compose.yaml, read as files: no Docker engine is needed."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
import yaml
from support.compose import Services
from support.dockerfile import Stage, stages_of
from support.imports import CHECKOUT

from sniffer_local.lock import LISTS, pins, requirements


@pytest.fixture(scope="session")
def stages() -> dict[str, Stage]:
    """The Dockerfile's stages by name."""
    return stages_of(CHECKOUT / "Dockerfile")


@pytest.fixture(scope="session")
def lists(stages: dict[str, Stage]) -> dict[str, str]:
    """For each image, the list that its stage of packages installs, by its path in the checkout."""
    found = {}
    for name, stage in stages.items():
        if name.endswith("-packages"):
            (line,) = [each for each in stage.lines if "build-wheels" in each]
            file = line.split("build-wheels ")[1].split()[0]
            assert f"COPY docker/{file} ." in stage.lines
            found[name.removesuffix("-packages")] = f"docker/{file}"
    return found


@pytest.fixture(scope="session")
def installed(lists: dict[str, str]) -> dict[str, set[str]]:
    """Every package that an image holds, but for our own."""
    return {image: set(pins((CHECKOUT / path).read_text())) for image, path in lists.items()}


@pytest.fixture(scope="session")
def wanted(pyproject: dict[str, Any], lists: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """The requirements of each image, as pyproject.toml states them."""
    return {image: requirements(pyproject, LISTS[path]) for image, path in lists.items()}


@pytest.fixture(scope="session")
def pyproject() -> dict[str, Any]:
    """pyproject.toml as a whole."""
    return tomllib.loads((CHECKOUT / "pyproject.toml").read_text())


@pytest.fixture(scope="session")
def version(pyproject: dict[str, Any]) -> str:
    """The project's version, which is the tag of its images."""
    found: str = pyproject["project"]["version"]
    return found


@pytest.fixture(scope="session")
def compose() -> dict[str, Any]:
    """docker-compose.yaml as a whole."""
    document: dict[str, Any] = yaml.safe_load((CHECKOUT / "docker-compose.yaml").read_text())
    return document


@pytest.fixture(scope="session")
def services(compose: dict[str, Any]) -> Services:
    """Its services by name."""
    found: Services = compose["services"]
    return found
