"""A simulated MySQL: transactions with row locks that take time, commit whole or not at all, and fail as real ones do.

What a write means for what is stored is decided by the code that decides it for MySQL.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from simulation.clockwork import Clockwork, Process
from sniffer.adapters.mysql.decisions import StoredPrediction, decide, reusable_hash
from sniffer.core.records import SETTLED, Certificate, FailureSample, Outcome, Result, ScanRequest
from sniffer.core.retry import Retry, RetryLater

_T = TypeVar("_T")

LATENCY_S = (0.002, 0.02)
LOCK_WAIT_S = 1.0
"""After so long a transaction that waits for another's row is rolled back (error 1205)."""


class CommitFault(StrEnum):
    """How a commit can fail."""

    TORN = "torn: the server died before it had committed"
    UNANSWERED = "unanswered: committed, but the answer was lost"
    DEADLOCK = "deadlock: rolled back in favour of another"


@dataclass(frozen=True, slots=True)
class Row:
    """One image with its prediction, as it is stored."""

    result: Result
    scan_id: str
    scored_hash: bytes | None

    @property
    def decides(self) -> StoredPrediction:
        """What a later write must know about it."""
        return StoredPrediction(self.result.outcome, self.scan_id)


class MemoryDatabase:
    """What is stored, and what goes wrong with it. Survives every process."""

    def __init__(self, clockwork: Clockwork, rng: random.Random) -> None:
        self.clockwork = clockwork
        self.rng = rng
        self.rows: dict[bytes, Row] = {}
        self.owned: Counter[tuple[str, Outcome]] = Counter()
        self.upgrades = 0
        self.away_until = 0.0
        self.faults: list[CommitFault] = []
        self.locks: dict[bytes, Session] = {}
        self.scores: dict[bytes, float] = {}
        self.certificates: list[Certificate] = []
        self.check_write: Callable[[tuple[Outcome, str], tuple[Outcome, str]], None] = lambda _before, _after: None

    def write(self, result: Result, scan_id: str) -> None:
        """Replace the row of that image: only a committing transaction, or another scan, may."""
        before = self.rows.get(result.image.identity)
        if before is not None:
            self.check_write((before.result.outcome, before.scan_id), (result.outcome, scan_id))
            self.owned[before.scan_id, before.result.outcome] -= 1
            self.upgrades += before.result.outcome not in SETTLED and result.outcome in SETTLED
        row = Row(result, scan_id, reusable_hash(result))
        self.rows[result.image.identity] = row
        self.owned[scan_id, result.outcome] += 1
        if row.scored_hash is not None and result.score is not None:
            self.scores[row.scored_hash] = result.score

    @property
    def is_away(self) -> bool:
        """Whether nobody can reach the server now."""
        return self.clockwork.now < self.away_until


class Session:
    """One connection of one process, with the patience of the real one: the stores of images and of scans in one."""

    def __init__(self, database: MemoryDatabase, process: Process, patience_s: float) -> None:
        self._database = database
        self._process = process
        self._retry = Retry("MySQL", "run again", patience_s, last_pause_s=0.5)
        self._commits = False

    # ---- images ---------------------------------------------------------------------------------------------

    def settled(self, identities: Sequence[bytes], *, scan_id: str | None) -> set[bytes]:
        """Which of these images have a settled row, of that scan if one is named."""
        return self._transact(
            lambda: {
                identity
                for identity in identities
                if (row := self._database.rows.get(identity)) is not None
                and row.result.outcome in SETTLED
                and scan_id in (None, row.scan_id)
            }
        )

    def failed_pages(self, page_size: int) -> Sequence[Sequence[bytes]]:
        """Identities of the images whose outcome is `failed`, by pages."""
        failed = self._transact(
            lambda: [i for i, row in self._database.rows.items() if row.result.outcome is Outcome.FAILED]
        )
        return [failed[start : start + page_size] for start in range(0, len(failed), page_size)]

    def scored_bytes(self, content_hashes: Sequence[bytes], model_version: int) -> dict[bytes, float]:
        """Scores that these very bytes have already."""
        scores = self._database.scores
        return self._transact(lambda: {content: scores[content] for content in content_hashes if content in scores})

    def record(
        self, results: Sequence[Result], *, model_version: int, scan_id: str, rescan: bool = False
    ) -> list[Outcome]:
        """Store in one transaction, under the locks of the images' rows."""
        identities = sorted(result.image.identity for result in results)

        def decided() -> tuple[list[Outcome], list[Result]]:
            rows = self._database.rows
            decisions = [
                decide(
                    row.decides if (row := rows.get(result.image.identity)) else None,
                    result,
                    scan_id=scan_id,
                    rescan=rescan,
                )
                for result in results
            ]
            writes = [result for result, decision in zip(results, decisions, strict=True) if decision.replaces]
            return [decision.counts_as for decision in decisions], writes

        return self._retried(lambda: self._write_locked(identities, decided, scan_id))

    # ---- scans ----------------------------------------------------------------------------------------------

    def open(self, request: ScanRequest, model_version: int) -> None:
        """Note that the scan runs."""
        self._transact(lambda: None)

    def close(self, certificate: Certificate) -> None:
        """Store the certificate."""
        self._transact(lambda: self._database.certificates.append(certificate))

    def stored_outcomes(self, scan_id: str) -> dict[Outcome, int]:
        """How many rows that scan owns, by outcome."""
        owned = self._database.owned
        return self._transact(lambda: {outcome: owned[scan_id, outcome] for outcome in Outcome})

    def flagged_count(self, scan_id: str, threshold: float) -> int:
        """How many rows of that scan are at or above the threshold."""
        rows = self._database.rows
        return self._transact(
            lambda: sum(row.scan_id == scan_id and (row.result.score or 0.0) >= threshold for row in rows.values())
        )

    def failure_samples(self, scan_id: str, count: int) -> tuple[FailureSample, ...]:
        """Not used: it decides nothing."""
        return ()

    def rival_rescans(self, scan_id: str, bucket: str, since: datetime) -> list[str]:
        """There is one scan at a time that rescans."""
        return []

    # ---- transactions ---------------------------------------------------------------------------------------

    def _transact(self, work: Callable[[], _T]) -> _T:
        def once() -> _T:
            self._travel()
            found = work()
            self._travel()
            return found

        return self._retried(once)

    def _retried(self, transaction: Callable[[], _T]) -> _T:
        clockwork = self._database.clockwork
        return self._retry.call(
            transaction, clock=clockwork.time, sleep=clockwork.sleep, uniform=self._database.rng.uniform
        )

    def _travel(self) -> None:
        low, high = LATENCY_S
        self._database.clockwork.sleep(low + (high - low) * self._database.rng.random())
        if self._database.is_away:
            raise RetryLater("it is away")

    def _write_locked(
        self, identities: list[bytes], decided: Callable[[], tuple[list[Outcome], list[Result]]], scan_id: str
    ) -> list[Outcome]:
        try:
            self._travel()
            self._lock(identities)
            outcomes, writes = decided()
            self._travel()
            self._commit(writes, scan_id)
        finally:
            self._unlock()
        return outcomes

    def _lock(self, identities: list[bytes]) -> None:
        database = self._database
        deadline = database.clockwork.now + LOCK_WAIT_S
        for identity in identities:
            while (holder := database.locks.get(identity)) not in (None, self) and holder is not None:
                if not holder.is_open:
                    break  # its process died, so the server rolled it back
                if database.clockwork.now >= deadline:
                    raise RetryLater("lock wait time-out")
                database.clockwork.sleep(0.01)
            database.locks[identity] = self

    @property
    def is_open(self) -> bool:
        """Whether the server still has to respect its locks."""
        return self._process.alive or self._commits

    def _unlock(self) -> None:
        locks = self._database.locks
        for identity in [identity for identity, holder in locks.items() if holder is self]:
            del locks[identity]

    def _commit(self, writes: list[Result], scan_id: str) -> None:
        """Once the commit is on its way it happens, or not, whatever becomes of the process that sent it."""
        database, clockwork = self._database, self._database.clockwork
        thread, answered, failure = clockwork.this_thread(), False, ""

        def happen() -> None:
            nonlocal answered, failure
            self._commits = False
            fault = database.faults.pop(0) if database.faults else None
            if database.is_away or fault in (CommitFault.TORN, CommitFault.DEADLOCK):
                failure = fault or "it is away"
            else:
                for result in writes:
                    database.write(result, scan_id)
                failure = fault or ""
            answered = True
            thread.resume_after(0.001)

        self._commits = True
        clockwork.after(LATENCY_S[0], happen)
        while not answered:
            thread.park()
        if failure:
            raise RetryLater(failure)
