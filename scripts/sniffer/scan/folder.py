"""The private folder of a scan on one machine: where its processes meet, gone with it, also after a kill."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sniffer.core.errors import SettingsError
from sniffer.core.temporary import owned_folder
from sniffer.scan.endpoint import LONGEST_IPC_PATH

_PREFIX = "sniffer-scan-"


@contextmanager
def private_folder(socket_name: str) -> Iterator[Path]:
    """A folder of mode 0700 with room in its path for a socket of that name; those of dead scans beside it are removed.

    Raises SettingsError when there is nowhere to make one.
    """
    folder = _made(socket_name)
    with owned_folder(folder, _PREFIX):
        yield folder


def _made(socket_name: str) -> Path:
    problems = []
    for base in _bases():
        room = LONGEST_IPC_PATH - len(os.fsencode(f"{base}/{_PREFIX}12345678/{socket_name}"))
        if room < 0:
            problems.append(f"{base} is too long for a socket")
            continue
        try:
            return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        except OSError as error:
            problems.append(f"{base}: {error.strerror}")
    raise SettingsError(f"no temporary folder can be made ({'; '.join(problems)}): set TMPDIR to one with a short path")


def _bases() -> list[Path]:
    """Where to try: as every program does, then where a short path may be had."""
    named = [os.environ.get("TMPDIR"), os.environ.get("XDG_RUNTIME_DIR"), "/tmp", "/var/tmp", "/dev/shm"]
    return [Path(base) for base in dict.fromkeys(named) if base]
