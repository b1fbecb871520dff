"""The rollout's image holds no TensorFlow, so its programs must not need it; nor Airflow, nor ZeroMQ."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MODULES = (
    "rollout",
    "sync",
    "kubernetes_target",
    "local_target",
)


@pytest.mark.parametrize("module", MODULES)
def test_importing_a_program_loads_nothing_heavy(module: str) -> None:
    heavy = "'tensorflow', 'keras', 'airflow', 'zmq', 'scipy', 'sklearn', 'matplotlib'"
    code = f"import sys, sniffer_rollout.{module}; print([name for name in ({heavy}) if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("import tensorflow", "steps.py"),
        ("import keras", "steps.py"),
        ("import airflow", "steps.py"),
        ("import zmq", "steps.py"),
        ("import boto3", "steps.py"),
        ("import kubernetes", "steps.py"),
        ("from kubernetes import client", "target.py"),
        ("import sniffer_model.network", "steps.py"),
        ("from sniffer_model.serving.config import parse_model_config", "steps.py"),
        ("import sniffer.produce", "steps.py"),
        ("import requests", "steps.py"),
    ],
)
def test_the_linter_keeps_the_borders(repository: Path, line: str, where: str) -> None:
    path = repository / "model" / "sniffer_rollout" / where
    command = [sys.executable, "-m", "ruff", "check", "--select=TID251", f"--stdin-filename={path}", "-"]
    done = subprocess.run(command, input=f"{line}\n", capture_output=True, text=True, check=False, cwd=repository)
    assert done.returncode == 1
    assert "TID251" in done.stdout
