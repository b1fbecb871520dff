"""Stands for the log of an Airflow task."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field


@dataclass
class TaskLog:
    """Stands for the task's log."""

    records: list[tuple[int, str]] = field(default_factory=list)

    def log(self, level: int, message: str, *values: object, **_: object) -> None:
        self.records.append((level, message % values))

    def info(self, message: str, *values: object) -> None:
        self.log(logging.INFO, message, *values)

    def warning(self, message: str, *values: object) -> None:
        self.log(logging.WARNING, message, *values)
