"""Resolves pyproject.toml into requirements.txt, and writes the part of it that each image installs: `make lock`.

In: the dependency tables of pyproject.toml, and a package index. Out: the files of LISTS, each package with its version
and the hashes of its files. Versions that still fit stay as they are, unless --upgrade asks for the newest.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sniffer.core.errors import SnifferError
from sniffer_local.layout import CHECKOUT

LOCK = "requirements.txt"
PYTHON = "3.11"
"""The version of Python in .venv and in the images, for which the lock holds."""

_OURSELVES = re.compile(r"sniffer-bot\[([\w,-]+)\]")
_DIGEST = re.compile(r"^# Requirements: sha256:(\w{64})$", re.MULTILINE)
_PIN = re.compile(r"^([\w.-]+)==(\S+) \\\n(?:    --hash=\S+(?: \\)?\n)+", re.MULTILINE)


class LockError(SnifferError):
    """The lists cannot be made, or do not agree with each other."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a list installs: extras with the base dependencies, dependency groups, single requirements of an extra."""

    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    dev_tools: tuple[str, ...] = ()


LISTS = {
    LOCK: Contents(extras=("dev",), groups=("airflow-aws", "airflow-image", "build")),
    "docker/build.txt": Contents(groups=("build",)),
    "docker/fleet.txt": Contents(extras=("fleet", "otel")),
    "docker/trainer.txt": Contents(extras=("trainer",)),
    "docker/review.txt": Contents(extras=("review",)),
    "docker/airflow.txt": Contents(extras=("airflow",), groups=("airflow-aws", "airflow-image")),
    "docker/airflow-local.txt": Contents(extras=("airflow", "fleet", "trainer"), groups=("airflow-aws",)),
    "tests/docker/standin-s3.txt": Contents(dev_tools=("moto",)),
}
"""Each list by its path in the checkout. All but the first are parts of the first."""


def requirements(pyproject: Mapping[str, Any], contents: Contents) -> tuple[str, ...]:
    """The requirements of a list as pyproject.toml states them, sorted, each once."""
    project = pyproject["project"]
    found = set(project["dependencies"]) if contents.extras else set()
    for extra in contents.extras:
        found.update(_of_extra(project["optional-dependencies"], extra))
    for group in contents.groups:
        found.update(pyproject["dependency-groups"][group])
    for text in project["optional-dependencies"]["dev"]:
        if re.split(r"[^\w.-]", text)[0] in contents.dev_tools:
            found.add(text)
    return tuple(sorted(found))


def _of_extra(extras: Mapping[str, Sequence[str]], name: str) -> Iterator[str]:
    for text in extras[name]:
        if ours := _OURSELVES.fullmatch(text):
            for other in ours[1].split(","):
                yield from _of_extra(extras, other)
        else:
            yield text


def digest(wanted: Sequence[str]) -> str:
    """What the header of a list says about the requirements that it was made from."""
    return hashlib.sha256("\n".join((PYTHON, *wanted)).encode()).hexdigest()


def recorded_digest(text: str) -> str | None:
    """The digest in a list's header; None without one."""
    found = _DIGEST.search(text)
    return found[1] if found else None


def pins(text: str) -> dict[str, str]:
    """Each package of a list: its version. Packages without a hash are left out."""
    return {match[1]: match[2] for match in _PIN.finditer(text)}


def stale(checkout: Path) -> list[str]:
    """The lists that were not made from today's pyproject.toml, or that are missing."""
    pyproject = tomllib.loads((checkout / "pyproject.toml").read_text())
    return [
        path
        for path, contents in LISTS.items()
        if not (checkout / path).is_file()
        or recorded_digest((checkout / path).read_text()) != digest(requirements(pyproject, contents))
    ]


def write_lists(checkout: Path, upgrade: bool) -> None:
    """Write every list. Raises LockError when the index has nothing that fits, and then changes no list."""
    pyproject = tomllib.loads((checkout / "pyproject.toml").read_text())
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder) / LOCK
        if (checkout / LOCK).is_file() and not upgrade:
            lock.write_bytes((checkout / LOCK).read_bytes())  # its versions are preferred
        made = {LOCK: _resolve(requirements(pyproject, LISTS[LOCK]), lock)}
        for path, contents in LISTS.items():
            if path != LOCK:
                part = Path(folder) / "part.txt"
                part.unlink(missing_ok=True)
                wanted = requirements(pyproject, contents)
                made[path] = _resolve(wanted, part, "--no-annotate", "--constraints", str(lock))
                if not pins(made[path]).items() <= pins(made[LOCK]).items():
                    raise LockError(f"{path} does not agree with {LOCK}")
    for path, text in made.items():
        (checkout / path).write_text(text)


def _resolve(wanted: Sequence[str], file: Path, *flags: str) -> str:
    """The text of a list. Versions in the file are preferred; it is written again."""
    command = [
        *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--generate-hashes", "--no-header"),
        *("--no-emit-index-url", "--python-version", PYTHON, "--output-file", str(file), *flags, "-"),
    ]
    done = subprocess.run(command, input="\n".join(wanted), capture_output=True, text=True, check=False)
    if done.returncode:
        raise LockError(done.stderr.strip())
    header = (
        f"# Made by `make lock` from pyproject.toml, for Python {PYTHON} on Linux; not to be edited.\n"
        f"# Requirements: sha256:{digest(wanted)}\n"
    )
    return header + re.sub(r"(# (?:  |via ))-r -$", r"\1sniffer-bot", file.read_text(), flags=re.MULTILINE)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program: 0 when all lists are written, 1 when nothing fits."""
    parser = argparse.ArgumentParser(prog="python -m sniffer_local.lock", description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    flags = parser.parse_args(argv)
    try:
        write_lists(CHECKOUT, flags.upgrade)
    except SnifferError as error:
        print(f"lock: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
