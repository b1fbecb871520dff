"""Fresh virtual environments with our wheel and what its extras bring from the package index."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sniffer_local.lock import PYTHON

_AIRFLOW = {
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    # What was installed just now is compiled as it is imported: on a busy machine for longer than the usual 30 s.
    "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "600",
}


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and an empty folder outside the checkout where its programs run."""

    folder: Path
    elsewhere: Path

    @classmethod
    def create(cls, folder: Path, python: str = sys.executable) -> Environment:
        """Make an empty one with that interpreter."""
        run_uv("venv", "--quiet", "--no-project", "--no-python-downloads", "--python", python, str(folder / "venv"))
        (folder / "elsewhere").mkdir()
        return cls(folder / "venv", folder / "elsewhere")

    def install(self, *arguments: str) -> None:
        """Install from the index, compiled at once: tests have limits for programs that start, and many do."""
        run_uv(
            "pip",
            "install",
            "--quiet",
            "--compile-bytecode",
            "--python",
            str(self.folder / "bin" / "python"),
            *arguments,
        )

    def version(self, package: str) -> str:
        """The version that is installed."""
        code = f"from importlib.metadata import version; print(version({package!r}))"
        return self.run("python", "-c", code).strip()

    def run(self, program: str, *arguments: str, folder: Path | None = None, **environ: str) -> str:
        """Run one of its programs to a good end, outside the checkout unless told; returns what it printed."""
        done = subprocess.run(
            [str(self.folder / "bin" / program), *arguments],
            cwd=folder or self.elsewhere,
            env={**os.environ, "AIRFLOW_HOME": str(self.elsewhere), **_AIRFLOW, **environ},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{program} {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout


def oldest(repository: Path, extras: Sequence[str], file: Path) -> Path:
    """Write the oldest versions that pyproject.toml allows for these extras, with what fits them; returns the file."""
    command = (
        "pip",
        "compile",
        "--quiet",
        "--resolution",
        "lowest-direct",
        "--no-annotate",
        "--python-version",
        PYTHON,
    )
    wanted = (f"--extra={extra}" for extra in extras)
    run_uv(*command, *wanted, "--output-file", str(file), str(repository / "pyproject.toml"))
    return file


def run_uv(*arguments: str) -> None:
    """Run uv to a good end."""
    done = subprocess.run([sys.executable, "-m", "uv", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
