from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

TOOLS = ("bash", "sha256sum", "grep", "dirname", "mkdir", "flock", "cat", "python3")


@pytest.fixture
def checkout(repository: Path, tmp_path: Path) -> Path:
    """A copy of what the set-up reads, without a virtual environment."""
    (tmp_path / "local").mkdir()
    for name in ("local/setup.sh", "requirements.txt"):
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


def test_every_requirement_is_pinned_and_no_index_is_named(repository: Path) -> None:
    lines = (repository / "requirements.txt").read_text().splitlines()
    pins = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    assert [line for line in pins if "==" not in line] == []
    assert not [line for line in lines if "index" in line and "://" in line]


def test_the_lock_holds_what_requirements_in_asks_for(repository: Path) -> None:
    locked = {line.partition("==")[0].partition("[")[0] for line in (repository / "requirements.txt").open()}
    for line in (repository / "requirements.in").read_text().splitlines():
        wanted = line.partition("#")[0].strip()
        name = wanted.partition("==")[0].partition("[")[0]
        assert not wanted or name in locked, f"{name}: run `make lock`"
