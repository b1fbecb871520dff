"""A file with users' pictures or keys is for its owner alone, from its first moment; others are as the umask says."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sniffer.core.files import write_text


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_private_file_and_its_new_folder_are_the_owners_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    replace = os.replace

    def watched(part: Path, path: Path) -> None:
        seen.append(mode(part))
        replace(part, path)

    monkeypatch.setattr(os, "replace", watched)
    before = os.umask(0o022)
    try:
        write_text(tmp_path / "run" / "report.html", "picture", private=True)
        write_text(tmp_path / "other" / "metrics.json", "figures")
        # One that an older release wrote for everybody is replaced, so it is private now.
        write_text(tmp_path / "other" / "metrics.json", "figures", private=True)
    finally:
        os.umask(before)
    assert (mode(tmp_path / "run"), mode(tmp_path / "run" / "report.html")) == (0o700, 0o600)
    assert (mode(tmp_path / "other"), seen) == (0o755, [0o600, 0o644, 0o600])
