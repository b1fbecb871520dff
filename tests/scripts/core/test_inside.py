"""Names that come from elsewhere stay in the folder that they are put in."""

from __future__ import annotations

from pathlib import Path

import pytest

from sniffer.core.errors import ContractError
from sniffer.core.inside import path_inside


@pytest.mark.parametrize(
    "name", ["a", "a/b.pb", "variables/variables.index", ".hidden", "..a", "a..", "é" * 100, "x" * 255]
)
def test_plain_names_are_taken_as_they_are(name: str, tmp_path: Path) -> None:
    assert path_inside(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/../../x",
        "a/..",
        "a/./b",
        "/etc/passwd",
        "//x",
        "a//b",
        "a/",
        "..\\x",
        "a\\b",
        "a\0b",
        "x" * 256,
        "é" * 128,
        "a/" + "x" * 256 + "/b",
        "\udc80\ud800",
        "/".join(["x" * 200] * 30),
    ],
)
def test_names_that_could_leave_it_are_refused_on_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError) as refused:
        path_inside(tmp_path, name)
    assert "\n" not in str(refused.value) and "\0" not in str(refused.value)
    str(refused.value).encode()


def test_a_link_to_another_place_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "out").symlink_to(tmp_path)
    (folder / "file").symlink_to(tmp_path / "secret")
    for name in ("out/x", "file"):
        with pytest.raises(ContractError, match="through a link"):
            path_inside(folder, name)


def test_the_folder_itself_may_be_reached_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert path_inside(tmp_path / "link", "a/b") == tmp_path / "link/a/b"
