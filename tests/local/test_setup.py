from __future__ import annotations

import resource
import shutil
import subprocess
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
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([repository / "local/setup.sh"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1  # whatever else the machine does
