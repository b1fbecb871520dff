"""What `sniffer scan` says when one of its processes cannot work: the command that was run, and the reason itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import sniffer.scan.__main__ as scan
from sniffer.core.errors import SettingsError
from sniffer.scan import produce

WAITS = "import signal; signal.pause()"


def test_the_reason_of_a_consumer_is_the_scan_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spawn(module: str, flags: Sequence[str], **streams: Any) -> subprocess.Popen[bytes]:
        words = ["-m", module, *flags] if module == "sniffer.scan.consume" else ["-c", WAITS]
        return subprocess.Popen([sys.executable, *words], **streams)

    monkeypatch.setattr(scan, "_spawn", spawn)
    monkeypatch.setenv("SNIFFER_DATABASE_URL", "mysql+mysqldb://u:p@127.0.0.1:1/x")
    monkeypatch.setenv("SNIFFER_SERVING_URL", "http://127.0.0.1:1/v1/models/m")
    monkeypatch.setenv("SNIFFER_DECODE_CPU_S", "0.001")
    fleet = scan.Fleet([], [], 1, str(tmp_path / "fleet"), max_restarts=0)
    with pytest.raises(SettingsError, match="consumer 0 cannot .*: SNIFFER_DECODE_CPU_S must be at least 0.1, not"):
        fleet.run()


@pytest.mark.parametrize(
    ("words", "command"), [(["--bucket=b"], "sniffer produce"), (["--bucket=b", "--part-of-scan"], "sniffer scan")]
)
def test_a_producer_reports_by_the_command_that_was_run(
    words: list[str], command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SNIFFER_DATABASE_URL", raising=False)
    assert produce.main([*words, "--endpoint=ipc:///nowhere/fleet"]) == SettingsError.exit_status
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"{command}: SNIFFER_DATABASE_URL is not set")
