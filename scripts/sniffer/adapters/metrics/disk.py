"""How much room is left where a program writes, looked up whenever somebody asks for its figures."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from sniffer.core.metrics import DISK_FREE, DISK_SIZE, Metrics


def show_disk(metrics: Metrics, folders: Mapping[str, Path]) -> None:
    """Show room and size of the file system of each folder, by its label; of one that is gone, what was last known.

    Room is what an ordinary user may still fill, as `df` counts it.
    """
    for label, folder in folders.items():
        try:
            found = os.statvfs(folder)
        except OSError:
            continue
        metrics.set(DISK_FREE, found.f_bavail * found.f_frsize, folder=label)
        metrics.set(DISK_SIZE, found.f_blocks * found.f_frsize, folder=label)
