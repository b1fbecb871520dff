"""Where the producer listens and its consumers connect: read once, and judged by who could reach it."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from sniffer.core.errors import SettingsError

_IPC, _TCP = "ipc://", "tcp://"
LONGEST_IPC_PATH = 107
"""Bytes of a Unix socket's path (sun_path of unix(7), with its closing zero)."""

_TCP_PLACE = re.compile(r"(?P<host>\[[^\[\]]+\]|[^\[\]:;/]+):(?P<port>\d{1,5}|\*)")
_OTHERS_WRITE = stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A `tcp://host:port` or an `ipc://path`, as ZeroMQ is told. `host` is bare (no brackets), empty for ipc."""

    text: str
    host: str = ""
    path: str = ""

    @property
    def is_private(self) -> bool:
        """Whether only processes of this machine can reach it."""
        return bool(self.path) or _is_loopback(self.host)

    @property
    def wants_ipv6(self) -> bool:
        """Whether the socket needs IPv6: everywhere but for an IPv4 address, which a machine without IPv6 may have."""
        if self.path:
            return False
        return not isinstance(_address(self.host), ipaddress.IPv4Address)


def parse_endpoint(text: str) -> Endpoint:
    """The endpoint of that text. Raises SettingsError when it is none, or one that this fleet does not use."""
    if text.startswith(_IPC):
        return Endpoint(text, path=_checked_path(text))
    found = _TCP_PLACE.fullmatch(text.removeprefix(_TCP)) if text.startswith(_TCP) else None
    if found is None:
        raise SettingsError(
            f"{text!r} is no endpoint: it is like tcp://127.0.0.1:5555, tcp://[::1]:5555 or ipc:///path"
        )
    return Endpoint(text, host=found["host"].strip("[]"))


def check_folder(endpoint: Endpoint) -> None:
    """Refuse a socket file where other users of this machine could put another, or have put one; SettingsError."""
    path = Path(endpoint.path)
    try:
        folder = path.parent.stat()
    except OSError as error:
        raise SettingsError(f"{endpoint.text}: the folder {path.parent} cannot be used: {error.strerror}") from error
    if folder.st_mode & _OTHERS_WRITE:
        raise SettingsError(
            f"{endpoint.text}: every user of this machine may write to {path.parent}: use a folder of mode 0700"
        )
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise SettingsError(f"{endpoint.text}: {path} is there, and is no socket")
    if found.st_uid not in (os.geteuid(), 0):
        raise SettingsError(f"{endpoint.text}: the socket belongs to another user")


def _checked_path(text: str) -> str:
    path = text.removeprefix(_IPC)
    if path.startswith("@"):
        raise SettingsError(f"{text}: every user of this machine can reach an abstract socket: name a file")
    if path in ("", "*") or path.endswith("/"):
        raise SettingsError(f"{text}: name a file, as in ipc:///run/sniffer/fleet")
    if (length := len(os.fsencode(path))) > LONGEST_IPC_PATH:
        raise SettingsError(f"{text}: a socket's path has at most {LONGEST_IPC_PATH} bytes, this one has {length}")
    return path


def _is_loopback(host: str) -> bool:
    address = _address(host)
    if address is not None:
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address).is_loopback
    return host == "localhost" and _resolves_to_loopback(host)


def _resolves_to_loopback(host: str) -> bool:
    try:
        found = {str(place[4][0]) for place in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(address).is_loopback for address in found)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that the host is, if it is one in full: `127.1`, a name and an interface are none."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
