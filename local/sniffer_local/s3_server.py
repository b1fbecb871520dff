"""The local S3 as a program that survives its own death: moto's server, which keeps its objects in a folder.

In: `--port`, `--folder`. It listens once everything that was saved is back, saves every few seconds and at SIGTERM.
Nobody else writes to the folder.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

from sniffer_local.moto_server import spare_requests
from sniffer_local.s3 import s3_client
from sniffer_local.s3_state import restore, save

INTERVAL_S = 10.0
SHARE_OF_TIME = 0.05
"""How much of its time the server may spend on saving: where there are many objects, it saves less often."""


def set_modified(bucket: str, key: str, modified: datetime) -> None:
    """Give an object of this process's moto another time of modification, which S3's API has no call for."""
    s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[bucket].keys[key].last_modified = modified.replace(tzinfo=None)


def serve(port: int, folder: Path, interval_s: float, stop: threading.Event) -> None:
    """Serve and save until `stop` is set, and save a last time."""
    private = _start(0)  # a port that nobody knows, while objects are still missing
    restore(s3_client(private.get_host_and_port()[1]), folder, set_modified)
    private.stop()
    server, client, pause_s = _start(port), s3_client(port), interval_s
    while not stop.wait(pause_s):
        started = time.monotonic()
        save(client, folder)
        pause_s = max(interval_s, (time.monotonic() - started) / SHARE_OF_TIME)
    save(client, folder)
    server.stop()


def _start(port: int) -> ThreadedMotoServer:
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    return server


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m sniffer_local.s3_server", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--interval", type=float, default=INTERVAL_S, metavar="SECONDS", help="between two savings")
    flags = parser.parse_args(argv)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    spare_requests()
    serve(flags.port, flags.folder, flags.interval, stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
