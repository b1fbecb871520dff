"""Files by which Prometheus finds programs that serve their metrics at any free port (its `file_sd_configs`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sniffer.core.errors import SettingsError
from sniffer.core.files import write_json


@dataclass(frozen=True, slots=True)
class ScrapeTarget:
    """What such a file lists."""

    targets: tuple[str, ...]


@contextmanager
def announced(folder: Path | None, host: str, port: int) -> Iterator[None]:
    """Tell of that address while the block runs; without a folder nobody. Raises SettingsError if it cannot be written.

    Files that killed programs of this machine have left are removed.
    """
    if folder is None:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob("sniffer-*.json"):
            if not _is_running(left.stem.removeprefix("sniffer-")):
                left.unlink(missing_ok=True)
    except OSError as error:
        raise SettingsError(f"SNIFFER_METRICS_TARGETS: {folder} cannot be written: {error.strerror}") from error
    file = folder / f"sniffer-{os.getpid()}.json"
    write_json(file, [ScrapeTarget((f"{host}:{port}",))])
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _is_running(process: str) -> bool:
    return process.isdigit() and Path(f"/proc/{process}").exists()
