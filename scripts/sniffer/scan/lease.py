"""The lease of a running scan: one process at a time runs it, and a process that died is found out within seconds."""

from __future__ import annotations

import logging
import os
import platform
import secrets
from collections.abc import Callable
from concurrent.futures import Executor, Future

from sniffer.core.errors import IncompleteScan, ScanInUse, TransientError
from sniffer.core.records import FencingToken
from sniffer.scan.channel import Clock

log = logging.getLogger(__name__)

RENEWALS = 6
"""So often a lease is renewed before it would end."""
DYING_S = 6.0
"""A process that was told to end, or whose parent was killed a moment ago, may still renew its lease for so long."""
_POLL_S = 0.5


def new_holder() -> str:
    """What a lease calls this run: where to look for it, and unlike any other."""
    return f"{platform.node()}, process {os.getpid()} ({secrets.token_hex(4)})"


class LeaseKeeper:
    """Renews a lease on the one thread of `executor`, so that a MySQL that is away never holds up the caller's loop."""

    def __init__(
        self, renew: Callable[[FencingToken, float], None], executor: Executor, lease_s: float, clock: Clock
    ) -> None:
        self.lease_s = lease_s
        self._renew = renew
        self._executor = executor
        self._clock = clock
        self._renewed_at = clock()
        self._renewal: Future[None] | None = None

    def keep(self, token: FencingToken) -> None:
        """Renew it when it is time. Without waiting; raises what the last renewal met, such as SupersededRun."""
        if self._renewal is not None and self._renewal.done():
            renewal, self._renewal = self._renewal, None
            try:
                renewal.result()
            except TransientError as error:
                log.warning("the lease of this scan could not be renewed: %s", error)
        if self._renewal is None and self._clock() - self._renewed_at >= self.lease_s / RENEWALS:
            self._renewed_at = self._clock()
            self._renewal = self._executor.submit(self._renew, token, self.lease_s)

    def end(self) -> None:
        """Renew it no more."""
        self._executor.shutdown(wait=False)


def wait_for_lease(
    claim: Callable[[], FencingToken], sleep: Callable[[float], None], is_stopping: Callable[[], bool]
) -> FencingToken:
    """Claim a scan, once nobody runs it: a run that was killed leaves a lease, and that is waited out.

    Raises ScanInUse when the lease is renewed after DYING_S, since then another process is alive, and IncompleteScan
    when it is to stop.
    """
    known: ScanInUse | None = None
    waited_s = 0.0
    while True:
        try:
            return claim()
        except ScanInUse as error:
            if known is None:
                log.info("%s: waiting %.0f s to see whether it is alive", error.lease, error.lease.left_s)
            if known is None or waited_s < DYING_S:
                known = error
            elif error.lease.until != known.lease.until:
                raise
            if is_stopping():
                raise IncompleteScan(f"stopped before it began: {error.lease}") from None
        sleep(_POLL_S)
        waited_s += _POLL_S
