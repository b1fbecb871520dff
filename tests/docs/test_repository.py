"""The files that a public repository needs agree with each other: licence, CI, pre-commit, dev container, changelog."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
APACHE_2_0_SHA256 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
"""Of https://www.apache.org/licenses/LICENSE-2.0.txt."""
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yaml"


def test_the_licence_is_apache_2_0_word_for_word() -> None:
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE_2_0_SHA256


def test_the_workflow_is_valid_and_runs_what_ci_runs_here() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(WORKFLOW)],
        capture_output=True,
        check=False,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["test"]["steps"]
    assert [step["run"] for step in steps if "run" in step][-1] == ".ci/run"


def test_images_ci_and_dev_container_stand_on_one_base_image() -> None:
    base = re.search(r"^ARG PYTHON_IMAGE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert base is not None
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert yaml.safe_load(WORKFLOW.read_text())["jobs"]["test"]["container"] == base[1]
    assert container["image"] == base[1]
    assert container["postCreateCommand"] == "make setup"


def test_pre_commit_checks_what_make_lint_checks() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    entries = [hook["entry"] for hook in hooks]
    assert all(
        hook["language"] == "system" and entry.startswith(".venv/bin/")
        for hook, entry in zip(hooks, entries, strict=True)
    )
    assert {_tool(entry) for entry in entries} == {_tool(command) for command in _lint_commands()}


def _lint_commands() -> list[str]:
    makefile = (ROOT / "Makefile").read_text().replace("$(python)", ".venv/bin/python")
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert recipe is not None
    return [line.strip().lstrip("@") for line in recipe[1].splitlines()]


def _tool(command: str) -> str:
    """`ruff check`, `mypy` …: the tool and its subcommand, without paths and flags."""
    words = command.removeprefix(".venv/bin/").removeprefix("python -m ").split()
    return " ".join(words[:2]) if words[0] == "ruff" else words[0]


def test_the_changelog_has_a_section_for_what_is_not_released() -> None:
    sections = re.findall(r"^## \[(.+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sections[0] == "Unreleased"
