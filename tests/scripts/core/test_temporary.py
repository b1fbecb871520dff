"""Temporary folders of programs: empty, private, gone with them; those of killed ones are removed, no others."""

from __future__ import annotations

import os
import signal
import stat
import time
from pathlib import Path

import pytest
from support.programs import Program, eventually

from sniffer.core.errors import SettingsError
from sniffer.core.temporary import temporary_folder

PREFIX = "sniffer-rollout-"
HOLDER = f"""
import time
from sniffer.core.temporary import temporary_folder
with temporary_folder("{PREFIX}") as folder:
    (folder / "saved_model.pb").touch()
    print(folder.parent, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    base = tmp_path / "temporary"
    base.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(base))
    return base


def test_it_is_empty_and_ours_alone_and_goes_with_all_in_it(base: Path) -> None:
    with temporary_folder(PREFIX) as folder:
        assert list(folder.iterdir()) == []
        assert folder.parent.name.startswith(PREFIX) and folder.parent.parent == base
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
        (folder / "1").mkdir()
        (folder / "1" / "variables").write_text("weights")
    assert list(base.iterdir()) == []


def test_it_goes_when_the_program_fails(base: Path) -> None:
    with pytest.raises(ValueError, match="no"), temporary_folder(PREFIX):
        raise ValueError("no")
    assert list(base.iterdir()) == []


def test_what_killed_runs_left_is_removed_and_what_lives_is_kept(base: Path, tmp_path: Path) -> None:
    script, environ = tmp_path / "holder.py", {"TMPDIR": str(base)}
    script.write_text(HOLDER)
    with Program(str(script), environ=environ) as killed, Program(str(script), environ=environ) as living:
        eventually(lambda: killed.out and living.out, "both have their folders")
        killed.signal(signal.SIGKILL)
        killed.process.wait(10)
        # However old the folder of a living process is.
        os.utime(living.out[0], (0, 0))
        with temporary_folder("sniffer-export-"):
            assert Path(killed.out[0]).exists(), "it is not of this program"
        with temporary_folder(PREFIX):
            assert not Path(killed.out[0]).exists()
            assert Path(living.out[0], "content", "saved_model.pb").exists()


@pytest.mark.parametrize(("age_s", "left"), [(3600, True), (2 * 86400, False)])
def test_folders_without_a_lock_are_removed_after_a_day(base: Path, age_s: float, left: bool) -> None:
    """Those of a release that held none, whose process may be at work."""
    old = base / f"{PREFIX}old"
    old.mkdir()
    (old / "weights").touch()
    os.utime(old, (time.time() - age_s,) * 2)
    with temporary_folder(PREFIX):
        assert old.exists() == left


def test_files_links_and_folders_of_others_are_left_alone(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = base / "precious"
    elsewhere.mkdir()
    (base / f"{PREFIX}link").symlink_to(elsewhere)
    (base / f"{PREFIX}file").touch()
    os.utime(base / f"{PREFIX}file", (0, 0))
    os.utime(elsewhere, (0, 0))
    with temporary_folder(PREFIX):
        pass
    theirs = base / f"{PREFIX}theirs"
    theirs.mkdir()
    os.utime(theirs, (0, 0))
    monkeypatch.setattr(os, "geteuid", lambda: theirs.stat().st_uid + 1)
    with temporary_folder(PREFIX):
        pass
    assert sorted(path.name for path in base.iterdir()) == sorted(
        ["precious", f"{PREFIX}file", f"{PREFIX}link", f"{PREFIX}theirs"]
    )


def test_nowhere_to_make_one_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    message = "no temporary folder can be made .*missing.*: set TMPDIR"
    with pytest.raises(SettingsError, match=message), temporary_folder(PREFIX):
        pass
