"""A scan on a terminal: a progress bar, with the log lines of the scan's processes above it.

In: the pipes of the children, and the file in which the producer keeps its progress. Out: standard error and output.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sniffer.core.errors import SnifferError
from sniffer.core.files import read_json
from sniffer.core.progress_bar import ProgressBar
from sniffer.core.text import printable
from sniffer.scan.progress import ScanFigures

_READ_BYTES = 1 << 16


class ScanDisplay:
    """Draws the bar and relays what the children write. A context manager; for one thread."""

    def __init__(self, progress_file: Path) -> None:
        self.progress_file = progress_file
        self._bar = ProgressBar("scan")
        self._selector = selectors.DefaultSelector()
        self._partial: dict[int, bytes] = {}
        self._result = b""

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._draw()
        while self._selector.get_map():
            self._relay(timeout_s=1.0)
        self._selector.close()
        self._bar.__exit__(kind, error, trace)
        # Not before, since the bar would be drawn into it.
        sys.stdout.buffer.write(self._result)
        sys.stdout.flush()

    def watch(self, child: subprocess.Popen[bytes]) -> None:
        """Relay what this child writes, which was started with both streams as pipes."""
        for stream, is_result in ((child.stdout, True), (child.stderr, False)):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                self._selector.register(stream, selectors.EVENT_READ, is_result)

    def wait(self, timeout_s: float) -> None:
        """Relay and draw for a moment."""
        self._relay(timeout_s)
        self._draw()

    def _relay(self, timeout_s: float) -> None:
        for key, _ in self._selector.select(timeout_s):
            stream: Any = key.fileobj
            data = stream.read(_READ_BYTES)
            if data is None:
                continue
            if key.data:
                self._result += data
            else:
                self._write_lines(key.fd, data)
            if not data:
                self._selector.unregister(stream)
                stream.close()

    def _write_lines(self, fd: int, data: bytes) -> None:
        """Whole lines only: those of several processes must not be mixed up."""
        *lines, self._partial[fd] = (self._partial.pop(fd, b"") + data).split(b"\n")
        if not data and self._partial[fd]:
            lines.append(self._partial.pop(fd))
        for line in lines:
            print(printable(line.decode(errors="replace")), file=sys.stderr)

    def _draw(self) -> None:
        try:
            figures = read_json(self.progress_file, ScanFigures, made_by="sniffer produce")
        except SnifferError:
            return  # not written yet, and whatever else lies there is about to be replaced
        figures.draw(self._bar)
