"""Endpoints: who could reach them is read from the parsed address, and what is no good is refused with the reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sniffer.core.errors import SettingsError
from sniffer.scan.endpoint import check_folder, parse_endpoint


@pytest.mark.parametrize(
    "text",
    [
        "tcp://127.0.0.1:5555",
        "tcp://127.8.9.10:5555",
        "tcp://127.0.0.1:*",
        "tcp://localhost:5555",
        "tcp://[::1]:5555",
        "tcp://[::ffff:127.0.0.1]:5555",
        "ipc:///run/sniffer/fleet",
        "ipc://relative",
    ],
)
def test_what_only_this_machine_reaches(text: str) -> None:
    assert parse_endpoint(text).is_private


@pytest.mark.parametrize(
    "text",
    [
        "tcp://127.evil.example:5555",
        "tcp://localhost.evil.example:1",
        "tcp://127.0.0.1.evil.example:1",
        "tcp://127.1:5555",
        "tcp://2130706433:5555",
        "tcp://0.0.0.0:5555",
        "tcp://*:5555",
        "tcp://lo:5555",
        "tcp://eth0:5555",
        "tcp://10.0.0.1:5555",
        "tcp://producer:5555",
        "tcp://[::]:5555",
        "tcp://[fe80::1%eth0]:5555",
        "tcp://[::ffff:10.0.0.1]:5555",
    ],
)
def test_what_others_reach(text: str) -> None:
    assert not parse_endpoint(text).is_private


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tcp://127.0.0.1:0;10.0.0.1:5555", "is no endpoint"),
        ("tcp://127.0.0.1", "is no endpoint"),
        ("tcp://127.0.0.1:port", "is no endpoint"),
        ("tcp://::1:5555", "is no endpoint"),
        ("tcp://:5555", "is no endpoint"),
        ("udp://127.0.0.1:5555", "is no endpoint"),
        ("inproc://fleet", "is no endpoint"),
        ("", "is no endpoint"),
        ("ipc://@fleet", "abstract"),
        ("ipc://", "name a file"),
        ("ipc://*", "name a file"),
        ("ipc:///run/sniffer/", "name a file"),
        ("ipc:///" + "x" * 107, "at most 107 bytes, this one has 108"),
        ("ipc:///" + "é" * 60, "at most 107 bytes, this one has 121"),
    ],
)
def test_what_is_no_endpoint_of_a_fleet(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse_endpoint(text)


def test_a_folder_that_everybody_writes_to_is_no_place_for_a_socket(tmp_path: Path) -> None:
    endpoint = parse_endpoint(f"ipc://{tmp_path}/fleet")
    check_folder(endpoint)
    for mode in (0o777, 0o1777):
        tmp_path.chmod(mode)
        with pytest.raises(SettingsError, match="every user of this machine may write"):
            check_folder(endpoint)


def test_a_file_that_is_no_socket_of_ours_is_refused(tmp_path: Path) -> None:
    endpoint = parse_endpoint(f"ipc://{tmp_path}/fleet")
    (tmp_path / "fleet").write_text("a file")
    with pytest.raises(SettingsError, match="no socket"):
        check_folder(endpoint)
    (tmp_path / "fleet").unlink()
    (tmp_path / "fleet").symlink_to("/run/elsewhere")
    with pytest.raises(SettingsError, match="no socket"):
        check_folder(endpoint)
    with pytest.raises(SettingsError, match="cannot be used"):
        check_folder(parse_endpoint(f"ipc://{tmp_path}/missing/fleet"))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("tcp://127.0.0.1:1", False), ("tcp://[::1]:1", True), ("tcp://producer:1", True), (f"ipc://{os.sep}x", False)],
)
def test_ipv6_is_asked_for_unless_the_address_is_of_version_four(text: str, wanted: bool) -> None:
    assert parse_endpoint(text).wants_ipv6 == wanted
