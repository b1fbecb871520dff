"""Logging of every program, configured in one place: one line an event, to standard error, in UTC."""

from __future__ import annotations

import logging
import sys
import time


def configure_logging(program: str, scan_id: str = "-", *, verbose: bool = False) -> None:
    """Send log lines `time level program scan_id message` to standard error; safe to call again with a scan id."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter(f"%(asctime)sZ %(levelname)s {program} [{scan_id}] %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    for chatty in ("botocore", "boto3", "urllib3", "PIL"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
