"""Programs that wait for an answer which never comes, until a signal ends them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import Signals

import psutil

from support.black_hole import BlackHole
from support.programs import Program, eventually

LIMIT_S = 5.0
"""From a signal to the end of any program: Airflow kills a task's processes after so long."""

DATABASE = "mysql+mysqldb://u:p@127.0.0.1:{port}/d"
SERVING = "http://127.0.0.1:{port}/v1/models/drug_detector"
S3 = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1"}


def settings(port: int) -> dict[str, str]:
    """Every foreign system is at that port."""
    return S3 | {
        "SNIFFER_DATABASE_URL": DATABASE.format(port=port),
        "SNIFFER_SERVING_URL": SERVING.format(port=port),
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "SNIFFER_ROLLOUT_TARGET": "local:/tmp/none",
        "SNIFFER_MODEL_BASE_PATH": "/tmp/none",
        "SNIFFER_SERVING_REPLICAS": f"http://127.0.0.1:{port}",
    }


class Hanging:
    """A program whose every foreign system is a server that never answers. `{tmp}` in its flags is the folder.

    `environ` says what is elsewhere.
    """

    def __init__(
        self, argv: Sequence[str], number: Signals, folder: Path, environ: Mapping[str, str] | None = None
    ) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "a").write_text('{"versions": [3], "labels": {"stable": 3}}')
        self._number = number
        self._hole = BlackHole()
        self._hole.__enter__()
        words = [flag.format(tmp=folder) for flag in argv]
        self.program = Program("sniffer.cli", *words, environ=settings(self._hole.port) | dict(environ or {}))

    def await_hanging(self) -> None:
        """Return once it has asked."""
        eventually(self._hole.is_asked.is_set, self.program.text())

    def end_hanging(self) -> tuple[float, int, list[psutil.Process]]:
        """end(), a moment after it has asked."""
        self.await_hanging()
        time.sleep(0.3)
        return self.end()

    def end(self) -> tuple[float, int, list[psutil.Process]]:
        """After the signal: how long it took to end, its status, and its children that outlive it for a second."""
        children = self.program.children()
        began = time.monotonic()
        self.program.signal(self._number)
        status = self.program.wait(30)
        return time.monotonic() - began, status, psutil.wait_procs(children, timeout=1)[1]

    def close(self) -> None:
        """End it and its server."""
        self.program.__exit__()
        self._hole.__exit__(None, None, None)
