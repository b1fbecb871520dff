"""The private folder of a scan: its mode, its end, where it goes when TMPDIR is no good, and what dead scans left."""

from __future__ import annotations

import os
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.programs import Program, eventually

from sniffer.core.errors import SettingsError
from sniffer.scan import folder as folder_module
from sniffer.scan.folder import private_folder

HOLDER = """
import time
from sniffer.scan.folder import private_folder
with private_folder("fleet") as folder:
    (folder / "fleet").touch()
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A TMPDIR with a short path, which pytest's own folders have not under several workers."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def test_it_is_ours_alone_and_goes_with_the_scan(base: Path) -> None:
    with private_folder("fleet") as folder:
        assert folder.parent == base and stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(base.iterdir()) == []


def test_what_a_killed_scan_left_is_removed_by_the_next_and_what_lives_is_kept(base: Path, tmp_path: Path) -> None:
    script = tmp_path / "holder.py"
    script.write_text(HOLDER)
    other = base / "sniffer-scan-of-somebody"
    other.mkdir()
    link = base / "sniffer-scan-link"
    link.symlink_to(tmp_path)
    environ = {"TMPDIR": str(base)}
    with Program(str(script), environ=environ) as killed, Program(str(script), environ=environ) as living:
        eventually(lambda: killed.out and living.out, "both have their folders")
        killed.signal(signal.SIGKILL)
        killed.process.wait(10)
        with private_folder("fleet"):
            assert not Path(killed.out[0]).exists()
            assert Path(living.out[0], "fleet").exists()
            assert other.exists() and link.is_symlink()
    os.utime(other, (time.time() - 2 * 86400, time.time() - 2 * 86400))
    with private_folder("fleet"):
        assert not other.exists()
    assert link.is_symlink() and script.exists()


@pytest.mark.parametrize("name", ["missing", "x" * 100, "file"])
def test_a_tmpdir_that_is_no_good_is_replaced(base: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (base / "file").touch()
    (base / ("x" * 100)).mkdir()
    monkeypatch.setenv("TMPDIR", str(base / name))
    with private_folder("fleet") as folder:
        assert len(os.fsencode(folder / "fleet")) <= 107 and base not in folder.parents
    assert not folder.exists()


def test_nowhere_to_make_one_is_said_in_one_line(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "_bases", lambda: [base / "missing", base / ("x" * 100)])
    with (
        pytest.raises(SettingsError, match="No such file or directory; .* is too long for a socket.: set TMPDIR"),
        private_folder("fleet"),
    ):
        pass
