"""The private folder of a scan on one machine: where its processes meet, gone with it, also after a kill."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sniffer.core.errors import SettingsError
from sniffer.scan.endpoint import LONGEST_IPC_PATH

_PREFIX = "sniffer-scan-"
_LOCK = "lock"
_UNLOCKED_S = 3600.0
"""A folder that has no lock yet is just being made, or its process was killed meanwhile: so much later it is left."""


@contextmanager
def private_folder(socket_name: str) -> Iterator[Path]:
    """A folder of mode 0700 with room in its path for a socket of that name; those of dead scans beside it are removed.

    Raises SettingsError when there is nowhere to make one.
    """
    folder = _made(socket_name)
    try:
        lock = _locked(folder)
        try:
            _sweep(folder.parent)
            yield folder
        finally:
            os.close(lock)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


def _locked(folder: Path) -> int:
    """Hold the folder's lock as long as this process lives. The lock appears only once it is held."""
    new = folder / f"{_LOCK}.new"
    lock = os.open(new, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    new.rename(folder / _LOCK)
    return lock


def _sweep(base: Path) -> None:
    """Remove the folders of our user's scans whose process is dead."""
    for folder in base.glob(f"{_PREFIX}*"):
        try:
            found = folder.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and _is_left(folder, found.st_mtime):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # another scan was quicker


def _is_left(folder: Path, made_at: float) -> bool:
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return time.time() - made_at > _UNLOCKED_S
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
