"""Hosts of a network of their own on this machine: network namespaces behind a router that can lose what it carries.

Needs root, `ip` (iproute2) and a kernel that lets us make namespaces; nothing of it is reachable from outside. What the
router loses vanishes without a word, as behind a broken switch: no reset, no "unreachable".
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Self

from support.programs import Program

HOSTS_FILES = Path("/etc/netns")
"""Where `ip netns exec` finds a host's own /etc/hosts."""
_MOST_HOSTS = 60


@cache
def what_is_missing() -> str:
    """Why no network can be made here; empty when one can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "there is no `ip`: apt-get install iproute2"
    name = f"sniffer-{os.getpid()}-try"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"the kernel or a container's rights refuse network namespaces: {tried.stderr.strip()}"
    _ip("netns", "del", name)
    return ""


class Host:
    """One host: an address, and processes that see no other network. `number` from 1."""

    def __init__(self, network: Network, name: str, number: int) -> None:
        self._network = network
        self.namespace = f"{network.prefix}-{name}"
        self.address = network.address(number, 2)
        self._port = f"p{number}"
        _ip("netns", "add", self.namespace)
        (HOSTS_FILES / self.namespace).mkdir(parents=True)
        self._hosts_file = HOSTS_FILES / self.namespace / "hosts"
        self._hosts_file.write_text("127.0.0.1 localhost\n")
        router = network.address(number, 1)
        network.router("link", "add", self._port, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        network.router("addr", "add", f"{router}/30", "dev", self._port)
        network.router("link", "set", self._port, "up")
        for words in (
            ["addr", "add", f"{self.address}/30", "dev", "eth0"],
            ["link", "set", "eth0", "up"],
            ["link", "set", "lo", "up"],
            ["route", "add", "default", "via", router],
        ):
            _ip("-n", self.namespace, *words)

    def start(self, *argv: str, environ: Mapping[str, str]) -> Program:
        """A program on this host."""
        return Program(*argv, environ=environ, within=("ip", "netns", "exec", self.namespace))

    def knows(self, **addresses: str) -> None:
        """From now on these names lead there, also for programs that run."""
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in addresses.items())]
        self._hosts_file.write_text("\n".join(lines) + "\n")  # in place: the programs have this file mounted

    def lose_what_is_sent_to_it(self) -> None:
        """From now on nothing reaches it."""
        self._network.router("route", "add", "blackhole", f"{self.address}/32")

    def lose_what_it_sends(self) -> None:
        """From now on nothing that it sends reaches anybody."""
        self._network.router("rule", "add", "from", self.address, "blackhole")

    def cut_off(self) -> None:
        """From now on it is alone."""
        self.lose_what_is_sent_to_it()
        self.lose_what_it_sends()

    def reconnect(self) -> None:
        """Everything comes through again."""
        for words in (["route", "del", "blackhole", f"{self.address}/32"], ["rule", "del", "from", self.address]):
            subprocess.run(["ip", "-n", self._network.prefix, *words], capture_output=True, check=False)

    def remove(self) -> None:
        """Take it down."""
        _ip("netns", "del", self.namespace)
        shutil.rmtree(HOSTS_FILES / self.namespace)


class Network:
    """A router, and the hosts behind it. What listens at `services_address`, here, is reached by all of them."""

    def __init__(self) -> None:
        # Of the addresses for tests of networks (RFC 2544), a part that nobody uses.
        parts = (part % 256 for part in range(os.getpid(), os.getpid() + 256))
        self._part = next(part for part in parts if not _ip("route", "show", f"198.18.{part}.0/24"))
        self.prefix = f"sniffer-{os.getpid()}"
        self.services_address = self.address(0, 2)
        self._link = f"snf{os.getpid()}"
        self._hosts: list[Host] = []

    def __enter__(self) -> Self:
        _remove_what_killed_tests_left()
        _ip("netns", "add", self.prefix)
        try:
            self._join_router()
        except BaseException:
            _ip("netns", "del", self.prefix)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for host in self._hosts:
            host.remove()
        _ip("link", "del", self._link)
        _ip("netns", "del", self.prefix)

    def host(self, name: str) -> Host:
        """One more host."""
        assert len(self._hosts) < _MOST_HOSTS
        host = Host(self, name, len(self._hosts) + 1)
        self._hosts.append(host)
        return host

    def address(self, number: int, end: int) -> str:
        """An end of the link number `number`: 1 is the router's."""
        return f"198.18.{self._part}.{4 * number + end}"

    def router(self, *words: str) -> None:
        """`ip` on the router."""
        _ip("-n", self.prefix, *words)

    def _join_router(self) -> None:
        _ip("link", "add", self._link, "type", "veth", "peer", "name", "p0", "netns", self.prefix)
        _ip("addr", "add", f"{self.services_address}/30", "dev", self._link)
        _ip("link", "set", self._link, "up")
        self.router("addr", "add", f"{self.address(0, 1)}/30", "dev", "p0")
        self.router("link", "set", "p0", "up")
        _ip("route", "add", f"198.18.{self._part}.0/24", "via", self.address(0, 1))
        forwards = "echo 1 > /proc/sys/net/ipv4/ip_forward"
        subprocess.run(["ip", "netns", "exec", self.prefix, "sh", "-c", forwards], check=True)


def _remove_what_killed_tests_left() -> None:
    for line in _ip("netns", "list").splitlines():
        name = line.split()[0]
        found = re.fullmatch(r"sniffer-(\d+)(-.*)?", name)
        if found and not Path("/proc", found[1]).exists():
            _ip("netns", "del", name)
            shutil.rmtree(HOSTS_FILES / name, ignore_errors=True)


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout
