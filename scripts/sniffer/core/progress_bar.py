"""A progress bar on a terminal; elsewhere programs log a line at an interval instead."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from sniffer.core.logs import logs_are_json

if TYPE_CHECKING:
    from rich.progress import Progress

REDRAW_S = 0.1


def shows_bars() -> bool:
    """Whether a person looks at standard error: it is a terminal, and the log is not JSON."""
    return sys.stderr.isatty() and not logs_are_json()


class ProgressBar:
    """What is done of how many, the rate and the time left. Log lines of this process appear above it.

    Drawn by `update` alone, without a thread of its own, so that a process with a bar may still fork.
    """

    def __init__(self, title: str, unit: str = "images") -> None:
        self._title = title
        self._unit = unit
        self._bar: Progress | None = None
        self._drawn_at = 0.0

    def __enter__(self) -> Self:
        # Imported here: most processes have no terminal.
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[count]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[detail]}"),
            console=Console(stderr=True),
            auto_refresh=False,
        )
        self._bar.add_task(self._title, total=None, count="", detail="")
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.refresh()
            self._bar.stop()

    def update(self, done: int, total: int | None, detail: str = "") -> None:
        """Show that so much is done. Without a total the bar only moves."""
        if self._bar is None:
            raise RuntimeError("a progress bar is a context manager")
        [task] = self._bar.task_ids
        count = f"{done:,} of {total:,} {self._unit}" if total is not None else f"{done:,} {self._unit}"
        self._bar.update(task, completed=done, total=total, count=count, detail=detail)
        now = time.monotonic()
        if now - self._drawn_at >= REDRAW_S or done == total:
            self._drawn_at = now
            self._bar.refresh()
