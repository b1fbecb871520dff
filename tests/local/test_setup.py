from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

TOOLS = ("bash", "sha256sum", "grep", "dirname", "mkdir", "flock", "cat", "awk", "python3")


@pytest.fixture
def checkout(repository: Path, tmp_path: Path) -> Path:
    """A copy of what the set-up reads, without a virtual environment."""
    (tmp_path / "local").mkdir()
    (tmp_path / "docker").mkdir()
    for name in ("local/setup.sh", "requirements.txt", "docker/build.txt", "pyproject.toml"):
        shutil.copy2(repository / name, tmp_path / name)
    return tmp_path


def run(checkout: Path, path: str) -> subprocess.CompletedProcess[str]:
    command = ["/bin/bash", str(checkout / "local/setup.sh")]
    return subprocess.run(command, env={"PATH": path}, capture_output=True, text=True, check=False)


def test_without_python_3_11_it_says_so_and_makes_nothing(checkout: Path) -> None:
    tools = checkout / "bin"
    tools.mkdir()
    for tool in TOOLS:
        (tools / tool).symlink_to(str(shutil.which(tool)))
    done = run(checkout, str(tools))
    assert done.returncode == 1
    assert "Python 3.11 is needed" in done.stderr
    assert not (checkout / ".venv").exists()


def test_a_finished_set_up_returns_at_once(repository: Path) -> None:
    started = time.monotonic()
    done = subprocess.run([repository / "local/setup.sh"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert time.monotonic() - started < 1
