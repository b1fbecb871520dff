"""Temporary folders that go with their process, also after a kill: the next run of the same program removes them.

The owner holds a lock in its folder for as long as it lives, whatever becomes of it; a folder whose lock is free is
nobody's. Only folders of our own user are touched.
"""

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

_LOCK = "lock"
_CONTENT = "content"
_UNLOCKED_S = 24 * 3600.0
"""A folder without a lock is just being made, or is one of a release that made none: left behind after so long."""


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """An empty folder of our user alone, below one whose name begins with `prefix`; gone at the end, with all in it.

    What killed programs left under the same prefix is removed. No prefix may begin with another one. Raises
    SettingsError when there is nowhere to make it.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=prefix))
    except OSError as error:
        raise SettingsError(f"no temporary folder can be made ({error}): set TMPDIR to one with room") from error
    with owned_folder(folder, prefix):
        content = folder / _CONTENT
        content.mkdir(0o700)
        yield content


@contextmanager
def owned_folder(folder: Path, prefix: str) -> Iterator[None]:
    """Hold that fresh folder, whose name begins with `prefix`, and remove it at the end.

    Those of dead processes beside it are removed at once.
    """
    try:
        lock = _locked(folder)
        try:
            _sweep(folder.parent, prefix)
            yield
        finally:
            os.close(lock)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _locked(folder: Path) -> int:
    """Hold the folder's lock as long as this process lives. The lock appears only once it is held."""
    new = folder / f"{_LOCK}.new"
    try:
        lock = os.open(new, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        new.rename(folder / _LOCK)
    except OSError as error:
        raise SettingsError(f"{folder} cannot be locked ({error.strerror}): set TMPDIR to a local disk") from error
    return lock


def _sweep(base: Path, prefix: str) -> None:
    """Remove our user's folders of that prefix whose process is dead."""
    for folder in base.glob(f"{prefix}*"):
        try:
            found = folder.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and _is_left(folder, found.st_mtime):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # another process was quicker


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
