"""Fixtures of the images and of docker-compose.yaml, read as files: no Docker engine is needed."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
import yaml
from support.dockerfile import Stage, names_of, stages_of
from support.imports import CHECKOUT


@pytest.fixture(scope="session")
def stages() -> dict[str, Stage]:
    """The Dockerfile's stages by name."""
    return stages_of(CHECKOUT / "Dockerfile")


@pytest.fixture(scope="session")
def lists(stages: dict[str, Stage]) -> dict[str, frozenset[str]]:
    """The requirements of each image: those of the lists that its stage of packages installs."""
    found = {}
    for name, stage in stages.items():
        if name.endswith("-packages"):
            (line,) = [each for each in stage.lines if "install-packages" in each]
            files = line.split("install-packages ")[1].split()
            found[name.removesuffix("-packages")] = frozenset(
                requirement for file in files for requirement in names_of(CHECKOUT / "docker" / file)
            )
    return found


@pytest.fixture(scope="session")
def version() -> str:
    """The project's version, which is the tag of its images."""
    project: dict[str, str] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    return project["version"]


@pytest.fixture(scope="session")
def compose() -> dict[str, Any]:
    """docker-compose.yaml as a whole."""
    document: dict[str, Any] = yaml.safe_load((CHECKOUT / "docker-compose.yaml").read_text())
    return document


@pytest.fixture(scope="session")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Its services by name."""
    found: dict[str, dict[str, Any]] = compose["services"]
    return found
