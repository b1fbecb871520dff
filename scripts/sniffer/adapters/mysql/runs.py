"""One run of a scan as a storing transaction sees it: whether it may still write, and what it has committed so far."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from sniffer.adapters.mysql.decisions import Counted, WriteDecision
from sniffer.adapters.mysql.upserts import upsert
from sniffer.core.errors import ContractError, ScanInUse, SupersededRun
from sniffer.core.records import FencingToken, Lease

_MODULUS = 1 << 256
_DIGEST_BYTES = 32
_COLUMNS = ("scan_number", "run_number", "writer", "outcome", "code", "images", "flagged", "digest")


@dataclass(slots=True)
class Tally:
    """Images with one outcome and code: how many, how many of them flagged, and the sum of their identities."""

    images: int = 0
    flagged: int = 0
    digest: int = 0

    def add(self, identity: bytes, times: int, *, flagged: bool) -> None:
        """Take an image in (times 1), or out (times -1)."""
        self.images += times
        self.flagged += times * flagged
        self.digest = (self.digest + times * int.from_bytes(identity, "big")) % _MODULUS

    def merge(self, other: Tally) -> None:
        """Take another writer's images in."""
        self.images += other.images
        self.flagged += other.flagged
        self.digest = (self.digest + other.digest) % _MODULUS


class OpenRun:
    """What one writer has committed in one run, within a transaction that keeps a newer run from beginning."""

    def __init__(self, token: FencingToken, writer: int, threshold: float) -> None:
        self.threshold = threshold
        self._token = token
        self._writer = writer
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._changed: set[tuple[str, str]] = set()

    def know(self, outcome: str, code: str, tally: Tally) -> None:
        """This is committed already."""
        self._tallies[outcome, code] = tally

    def count(self, identity: bytes, decision: WriteDecision, score: float | None) -> None:
        """Count the image as decided, with the score that is stored then, and no longer as it counted before."""
        if decision.counts == decision.counted_before:
            return
        if decision.counted_before is not None:
            # What is replaced within a run has no score, so it was not flagged.
            self._of(decision.counted_before).add(identity, -1, flagged=False)
        self._of(decision.counts).add(identity, 1, flagged=score is not None and score >= self.threshold)

    def store(self, connection: Connection) -> None:
        """Write what has changed."""
        rows = [self._row(outcome, code) for outcome, code in sorted(self._changed)]
        if rows:
            upsert(connection, "tallies", _COLUMNS, rows, dict.fromkeys(("images", "flagged", "digest"), "{new}"))

    def _of(self, counted: Counted) -> Tally:
        key = (str(counted.outcome), counted.code)
        self._changed.add(key)
        return self._tallies.setdefault(key, Tally())

    def _row(self, outcome: str, code: str) -> tuple[object, ...]:
        tally, token = self._tallies[outcome, code], self._token
        digest = tally.digest.to_bytes(_DIGEST_BYTES, "big")
        return token.scan_number, token.run_number, self._writer, outcome, code, tally.images, tally.flagged, digest


def open_run(connection: Connection, token: FencingToken, writer: int) -> OpenRun:
    """The run that this transaction writes for. Until it ends, no newer run can begin.

    Raises SupersededRun when one has begun already.
    """
    # A shared lock, so that consumers do not wait for one another; both tables in one statement.
    rows = connection.exec_driver_sql(
        "SELECT s.scan_id, s.run_number, s.threshold, t.outcome, t.code, t.images, t.flagged, t.digest FROM scans s"
        " LEFT JOIN tallies t ON t.scan_number = s.number AND t.run_number = %s AND t.writer = %s"
        " WHERE s.number = %s LOCK IN SHARE MODE",
        (token.run_number, writer, token.scan_number),
    ).all()
    if not rows:
        raise ContractError(f"there is no scan with the number {token.scan_number} in MySQL: was another one migrated?")
    refuse_superseded(rows[0].scan_id, rows[0].run_number, token.run_number)
    run = OpenRun(token, writer, rows[0].threshold)
    for row in rows:
        if row.outcome is not None:
            run.know(row.outcome, row.code, Tally(row.images, row.flagged, int.from_bytes(row.digest, "big")))
    return run


def refuse_leased(lease: Lease | None, holder: str) -> None:
    """Raise ScanInUse while that lease is another holder's and not over."""
    if lease is not None and lease.holder != holder and lease.left_s > 0:
        raise ScanInUse(lease)


def refuse_superseded(scan_id: str, newest: int, ours: int) -> None:
    """Raise SupersededRun unless that run is the newest."""
    if newest != ours:
        raise SupersededRun(
            f"run {ours} of scan {scan_id} has been superseded by run {newest}: it writes nothing more, and ends"
        )
