"""On a terminal: a bar instead of progress lines, log lines above it, and nothing of it where nobody looks."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.fleet import Fleet
from support.programs import Program

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_terminal(command: list[str], environ: dict[str, str], *, stdout_too: bool = True) -> tuple[int, str, str]:
    """Exit status, what a terminal shows (escape sequences left out), and standard output when it is no terminal."""
    master, slave = pty.openpty()
    stdout = slave if stdout_too else subprocess.PIPE
    process = subprocess.Popen(
        command,
        stdin=slave,
        stdout=stdout,
        stderr=slave,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"} | environ,
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        shown += chunk
    out = process.stdout.read().decode() if process.stdout else ""
    status = process.wait(60)
    os.close(master)
    return status, ESCAPES.sub("", shown.decode(errors="replace")), out


def test_a_scan_shows_a_bar_then_its_certificate(fleet: Fleet) -> None:
    fleet.fill(24)
    command = [sys.executable, "-m", "sniffer.scan", f"--bucket={fleet.bucket.name}", "--consumers=1"]
    status, shown, _ = on_terminal(command, fleet.environ)
    assert status == 0, shown
    assert "24 of 24 images" in shown
    assert shown.index("24 of 24 images") < shown.index("verdict    the certificate holds")
    assert "working for model version 1" in shown
    assert "done 24," not in shown  # the progress line of the log


def test_a_scans_json_is_alone_on_standard_output_beside_a_bar(fleet: Fleet) -> None:
    fleet.fill(3)
    command = [sys.executable, "-m", "sniffer.scan", f"--bucket={fleet.bucket.name}", "--consumers=1", "--json"]
    status, shown, out = on_terminal(command, fleet.environ, stdout_too=False)
    assert status == 0, shown
    assert json.loads(out)["listed"] == 3
    assert "3 of 3 images" in shown


def test_a_producer_alone_shows_a_bar_too(fleet: Fleet, tmp_path: Path) -> None:
    fleet.fill(5)
    endpoint = f"--endpoint=ipc://{tmp_path}/fleet"
    with Program("sniffer.scan.consume", endpoint, environ=fleet.environ) as consumer:
        command = [sys.executable, "-m", "sniffer.scan.produce", f"--bucket={fleet.bucket.name}", endpoint]
        status, shown, _ = on_terminal(command, fleet.environ)
        assert status == 0, shown
        assert consumer.wait() == 0, consumer.text()
    assert shown.index("5 of 5 images") < shown.index("verdict    the certificate holds")
    assert "done 5," not in shown  # the progress line of the log


@pytest.mark.parametrize("flags", [[], ["--log-format=json"]])
def test_samples_show_a_bar_only_to_a_person(flags: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sniffer_local.samples", f"--out={tmp_path}", "--count=4", "--processes=1", *flags]
    status, shown, _ = on_terminal(command, {})
    assert status == 0, shown
    if flags:
        assert "━" not in shown
        assert '"message": "samples: 4 of 4 images' in shown
    else:
        assert "4 of 4 images" in shown and "━" in shown
        assert "INFO" not in shown


def test_a_failure_in_the_middle_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from sniffer.core.count_progress import StageProgress\n"
        "from sniffer.core.logs import configure_logging\n"
        "configure_logging('try')\n"
        "with StageProgress('stage', 10) as progress:\n"
        "    progress.advance(3)\n"
        "    sys.exit('broken')\n"
    )
    master, slave = pty.openpty()
    done = subprocess.Popen([sys.executable, "-c", code], stderr=slave, env=os.environ | {"TERM": "xterm"})
    os.close(slave)
    assert done.wait(30) == 1
    shown = os.read(master, 65536).decode()
    os.close(master)
    assert "3 of 10 images" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor is hidden"
    assert shown.rstrip().endswith("broken")
