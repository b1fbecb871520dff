"""A test that hangs where nothing in Python reaches it fails alone: the run ends, and all others have run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]

CONFTEST = """
from support.schedule import ByFolder

def pytest_xdist_make_scheduler(config, log):
    config.option.loadscopereorder = False
    return ByFolder(config, log)
"""

HANGS = """
import ctypes

def test_before(): pass

def test_hangs():
    libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
    while True:
        libc.pthread_mutex_lock(mutex)

def test_after(): pass
"""


def test_a_test_that_hangs_in_c_fails_and_the_rest_is_run_once(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_hangs.py").write_text(HANGS)
    (tmp_path / "test_other.py").write_text("def test_other(): pass\n")
    flags = ["-n", "2", "--dist", "loadfile", "-o", f"pythonpath={REPOSITORY / 'tests'}", "-p", "no:cacheprovider"]
    limits = ["-o", "timeout=1", "-o", "faulthandler_timeout=2", "-o", "faulthandler_exit_on_timeout=true"]
    command = [sys.executable, "-m", "pytest", "--import-mode=importlib", *flags, *limits, str(tmp_path)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert re.search(r"^1 failed, 3 passed", run.stdout.splitlines()[-1].strip("= ")), run.stdout
    assert "test_hangs.py::test_hangs" in run.stdout
    assert 'test_hangs.py", line 9 in test_hangs' in run.stderr, "where it hangs is not said"
