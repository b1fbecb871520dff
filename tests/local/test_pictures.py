"""Pictures of the documents: what a terminal shows becomes HTML, and what is missing is said with the way out."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from sniffer.core.errors import SettingsError
from sniffer_local.browser import open_browser
from sniffer_local.layout import Layout
from sniffer_local.pictures import make_pictures, small
from sniffer_local.terminal import Screen, as_html, run_in_terminal


def shown(printed: str) -> list[str]:
    """What is left of the output; as from a terminal, lines end with CR LF."""
    screen = Screen()
    screen.write(printed)
    return ["".join(character for character, _ in line).rstrip() for line in screen.lines]


def test_a_progress_line_is_overwritten_by_the_next() -> None:
    assert shown("10 % done\r100 %\x1b[K\r\nend\r\n") == ["100 %", "end", ""]


def test_a_shorter_line_leaves_the_rest_of_the_longer_one_unless_it_is_erased() -> None:
    assert shown("abcdef\rxy") == ["xycdef"]
    assert shown("abcdef\r\x1b[2Kxy") == ["xy"]


def test_the_cursor_goes_up_and_down() -> None:
    assert shown("one\r\ntwo\r\x1b[1AONE\x1b[1B\rTWO") == ["ONE", "TWO"]


def test_colours_become_css_and_text_is_escaped() -> None:
    screen = Screen()
    screen.write("\x1b[1;32mok\x1b[0m <b>\n")
    page = as_html("sniffer scan", screen)
    assert '<span style="font-weight:bold;color:#98c379">ok</span> &lt;b&gt;' in page
    assert "$</b> sniffer scan" in page


def test_a_program_sees_a_terminal_of_the_given_width() -> None:
    code = "import os, sys; print(sys.stdout.isatty(), os.get_terminal_size().columns); sys.exit(3)"
    status, screen = run_in_terminal([sys.executable, "-c", code], os.environ, columns=77)
    assert status == 3
    assert "".join(character for character, _ in screen.lines[0]) == "True 77"


def test_without_a_browser_it_says_how_to_install_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match="apt-get install .*chromium"), open_browser():
        pass


def test_without_the_demo_it_says_how_to_start_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="make demo"):
        make_pictures(Layout(tmp_path), tmp_path / "pictures")
    assert not (tmp_path / "pictures").exists()


def test_a_picture_gets_smaller_and_keeps_its_size_in_pixels() -> None:
    picture = Image.new("RGB", (200, 100), "white")
    picture.paste((200, 30, 40), (20, 20, 120, 60))
    original = io.BytesIO()
    picture.save(original, "PNG", compress_level=0)
    with Image.open(io.BytesIO(small(original.getvalue()))) as result:
        assert result.size == (200, 100)
        assert result.convert("RGB").getpixel((50, 40)) == (200, 30, 40)
    assert len(small(original.getvalue())) < len(original.getvalue())
