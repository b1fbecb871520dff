"""What a decoder process takes from itself before it sees the first file: descriptors, files, memory, rights.

Only Linux knows all of it. The limits hold for whoever takes the process over, as far as it is no root.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.abc
import os
import resource
import signal
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_LIKELIEST_TO_BE_KILLED = "1000"


def die_with(parent: int) -> None:
    """Die at once when the thread that started this process does, even by SIGKILL; also when it has died already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(0)


def lock_up(*, memory_bytes: int) -> None:
    """From now on: no file or socket more, nothing to be won by a set-uid program, and so much memory more.

    Whatever is still to be imported or opened must have been, and standard error is gone.
    """
    # When memory is short, the kernel ends this process before the consumer; where /proc is read-only, it chooses.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_LIKELIEST_TO_BE_KILLED)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    # What codecs print about a file is as hostile as the file.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    _limit(resource.RLIMIT_AS, in_use + memory_bytes)
    # Processes are not limited: that limit counts threads too, and libheif's decoder cannot do without one.
    for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        _limit(limit, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_DUMPABLE, 0)
    sys.meta_path.insert(0, _NothingMore())


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl({option})")


class _NothingMore(importlib.abc.MetaPathFinder):
    """An import now could not open its file, and the image would be called damaged for it: say so instead."""

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find nothing, loudly."""
        raise ImportError(f"{fullname} was not imported before the decoder was locked up", name=fullname)
