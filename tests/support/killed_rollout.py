"""`sniffer rollout STEP` that SIGKILLs itself right before its N-th change of what others see: `N STEP FLAGS…`.

Changes are, in their order: each file by which a local target's servers are told, before it takes its name; and in
`models`, first the transaction, then its commit.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from sqlalchemy import Connection, event

from sniffer.adapters.mysql import models
from sniffer.core import files
from sniffer.core.model_records import Decision
from sniffer_rollout import __main__ as rollout
from sniffer_rollout.aspired import ASPIRED_FILE, CONFIG_FILE

_TELLING = (ASPIRED_FILE, CONFIG_FILE)


class Changes:
    """Counts them, and dies of the one of that number."""

    def __init__(self, fatal: int) -> None:
        self._left = fatal

    def before(self, what: str) -> None:
        """Die instead, if it is that one's turn."""
        self._left -= 1
        print(f"change: {what}", file=sys.stderr, flush=True)
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def watch(changes: Changes) -> None:
    """Count from now on."""
    replace, promote = os.replace, models._promote

    def replaced(source: Path, target: Path) -> None:
        if Path(target).name in _TELLING:
            changes.before(Path(target).name)
        replace(source, target)

    def promoted(connection: Connection, version: int, decision: Decision) -> None:
        changes.before("transaction")
        promote(connection, version, decision)
        event.listen(connection, "commit", lambda _: changes.before("commit"), once=True)

    files.os.replace = replaced  # type: ignore[attr-defined]
    models._promote = promoted


if __name__ == "__main__":
    watch(Changes(int(sys.argv[1])))
    sys.exit(rollout.main(sys.argv[2:]))
