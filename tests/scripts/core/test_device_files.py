"""Results that are written to a device: it stays one, and what does not fit is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from sniffer.core.errors import SettingsError
from sniffer.core.files import check_writable, write_text


def test_a_device_is_written_to_and_stays_a_device() -> None:
    for path in (Path("/dev/null"), Path("/dev/full")):
        check_writable(path)
        assert path.is_char_device()
    write_text(Path("/dev/null"), "nothing")
    with pytest.raises(SettingsError, match="cannot write /dev/full: No space left on device"):
        write_text(Path("/dev/full"), "too much")
    assert Path("/dev/null").is_char_device() and Path("/dev/full").is_char_device()


def test_a_file_that_cannot_be_replaced_leaves_no_part_of_itself(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(SettingsError, match="cannot write"):
        write_text(tmp_path / "folder", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
