"""What may not be deleted under a scan that runs."""

from __future__ import annotations

from collections.abc import Sequence

from sniffer.core.errors import TransientError
from sniffer.core.text import one_line


def refuse_running(scan_ids: Sequence[str]) -> None:
    """Raise TransientError while there is such a scan."""
    if scan_ids:
        raise TransientError(
            f"scan {one_line(scan_ids[0])} is running, and may rest on what would go: run again when it has ended; one "
            "that was killed is waited for some minutes"
        )
