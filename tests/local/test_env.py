"""A shell on the demo's stack: what `sniffer local env` prints, and to whom it prints nothing."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from sniffer.core.settings import airflow_settings, database_settings, rollout_settings, serving_settings
from sniffer_local import env
from sniffer_local.layout import Layout
from sniffer_local.registry import Registry
from sniffer_local.stack import prepare_stack


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The lines of a stack that was prepared and not started, with odd characters in a password."""
    layout = Layout(tmp_path_factory.mktemp("stack"))
    (layout.root / "airflow").mkdir()
    (layout.root / "airflow" / "passwords.json").write_text("""{"admin": "it's @ $HOME/"}""")
    return env.export_lines(env.shell_environ(prepare_stack(layout, Registry(layout.state))))


def test_a_shell_takes_the_lines_over_as_they_are_meant(lines: str) -> None:
    script = f"{lines}\nexec env -0"
    environ = {"PATH": "/usr/bin:/bin", "HOME": "/root"}
    done = subprocess.run(["sh", "-c", script], env=environ, capture_output=True, check=True, timeout=30)
    found = dict(entry.split("=", 1) for entry in done.stdout.decode().split("\0") if entry)
    assert database_settings(found).url.reveal().startswith("mysql+mysqldb://sniffer:")
    assert serving_settings(found).url.reveal().endswith("/v1/models/drug_detector")
    assert rollout_settings(found).target.startswith("local:")
    assert airflow_settings(found).password == "it's @ $HOME/"
    assert found["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
    assert found["PATH"].split(":")[0] == str(Path(sys.executable).parent)


def test_without_a_stack_it_says_how_to_start_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sniffer_local.env", f"--root={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "sniffer local env: the demo's stack does not run: start it by `make demo`\n"


def test_nothing_secret_is_shown_on_a_terminal(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "sniffer_local.env", f"--root={tmp_path}"]
    done = subprocess.run(command, stdout=slave, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(slave)
    os.close(master)
    assert done.returncode == 2
    assert 'eval "$(sniffer local env)"' in done.stderr
