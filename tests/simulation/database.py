"""A simulated MySQL: transactions with row locks that take time, commit whole or not at all, and fail as real ones do.

What a write means for what is stored is decided by the code that decides it for MySQL.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from simulation.clockwork import Clockwork, Process
from sniffer.adapters.images import DECODER_VERSION
from sniffer.adapters.mysql.decisions import Counted, StoredPrediction, WriteDecision, decide, reusable_hash
from sniffer.adapters.mysql.runs import Tally, refuse_leased, refuse_superseded
from sniffer.core.records import (
    SETTLED,
    Certificate,
    FailureSample,
    FencingToken,
    Lease,
    Outcome,
    OutcomeTally,
    Result,
    ScanRequest,
    Score,
)
from sniffer.core.retry import Retry, RetryLater

_T = TypeVar("_T")

LATENCY_S = (0.002, 0.02)
THRESHOLD = 0.5
"""Of the one model."""
LOCK_WAIT_S = 1.0
"""After so long a transaction that waits for another's row is rolled back (error 1205)."""


class CommitFault(StrEnum):
    """How a commit can fail."""

    TORN = "torn: the server died before it had committed"
    UNANSWERED = "unanswered: committed, but the answer was lost"
    DEADLOCK = "deadlock: rolled back in favour of another"
    LOST = "lost: committed and answered, but a fail-over went back before it"


@dataclass(frozen=True, slots=True)
class Row:
    """One image with its prediction, as it is stored."""

    result: Result
    scan_id: str
    token: FencingToken
    counted_for: Counted | None = None

    @property
    def decides(self) -> StoredPrediction:
        """What a later write must know about it."""
        counted = Counted(self.token, self.result.outcome, self.result.error_code or "")
        return StoredPrediction(counted, self.result.score, DECODER_VERSION, self.counted_for)


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
        self.sharing: list[tuple[int, Session]] = []
        self.scan_numbers: dict[str, int] = {}
        self.run_numbers: Counter[int] = Counter()
        self.leases: dict[int, tuple[str, float]] = {}
        self.check_lease: Callable[[int, str], None] = lambda _number, _holder: None
        self.check_token: Callable[[FencingToken, int], None] = lambda _token, _newest: None
        self.tallies: dict[FencingToken, dict[tuple[Outcome, str], Tally]] = {}
        self.scores: dict[bytes, float] = {}
        self.certificates: list[Certificate] = []
        self.check_write: Callable[[tuple[Outcome, str], tuple[Outcome, str]], None] = lambda _before, _after: None

    def open(self, scan_id: str) -> FencingToken:
        """Begin the next run of that scan."""
        number = self.scan_numbers.setdefault(scan_id, len(self.scan_numbers) + 1)
        self.run_numbers[number] += 1
        return FencingToken(number, self.run_numbers[number])

    def write(self, result: Result, token: FencingToken, counted_for: Counted | None = None) -> None:
        """Replace the row of that image: only a committing transaction, or another scan, may."""
        scan_id = next(name for name, number in self.scan_numbers.items() if number == token.scan_number)
        before = self.rows.get(result.image.identity)
        if before is not None:
            self.check_write((before.result.outcome, before.scan_id), (result.outcome, scan_id))
            self.owned[before.scan_id, before.result.outcome] -= 1
            self.upgrades += before.result.outcome not in SETTLED and result.outcome in SETTLED
        self.rows[result.image.identity] = Row(result, scan_id, token, counted_for)
        self.owned[scan_id, result.outcome] += 1
        scored_hash = reusable_hash(result)
        if scored_hash is not None and result.score is not None:
            self.scores[scored_hash] = result.score

    def apply(self, result: Result, decision: WriteDecision, token: FencingToken) -> None:
        """Commit what was decided about that image: its row, and how it counts."""
        identity = result.image.identity
        self.check_token(token, self.run_numbers[token.scan_number])
        if decision.replaces:
            self.write(result, token, decision.counted_for)
        elif decision.counted_for is not None:
            self.rows[identity] = replace(self.rows[identity], counted_for=decision.counted_for)
        if decision.counts != decision.counted_before:
            tallies = self.tallies.setdefault(token, {})
            for counted, times in ((decision.counted_before, -1), (decision.counts, 1)):
                if counted is not None:
                    key = (counted.outcome, counted.code)
                    flagged = counted is decision.counts and (result.score or 0.0) >= THRESHOLD
                    tallies.setdefault(key, Tally()).add(identity, times, flagged=flagged and decision.replaces)

    @property
    def is_away(self) -> bool:
        """Whether nobody can reach the server now."""
        return self.clockwork.now < self.away_until


class Session:
    """One connection of one process, with the patience of the real one: the stores of images and of scans in one."""

    def __init__(
        self, database: MemoryDatabase, process: Process, patience_s: float, rng: random.Random | None = None
    ) -> None:
        self._rng = rng or database.rng
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

    def inaccessible(self, identities: Sequence[bytes]) -> dict[bytes, str]:
        """The codes of those of these images that could not be read."""
        rows = self._database.rows
        return self._transact(
            lambda: {
                identity: row.result.error_code or ""
                for identity in identities
                if (row := rows.get(identity)) is not None and row.result.outcome is Outcome.INACCESSIBLE
            }
        )

    def failed_pages(self, page_size: int) -> Sequence[Sequence[bytes]]:
        """Identities of the images that failed, or could not be read, by pages."""
        given_up = (Outcome.FAILED, Outcome.INACCESSIBLE)
        failed = self._transact(lambda: [i for i, row in self._database.rows.items() if row.result.outcome in given_up])
        return [failed[start : start + page_size] for start in range(0, len(failed), page_size)]

    def scored_bytes(self, content_hashes: Sequence[bytes], model_version: int) -> dict[bytes, Score]:
        """Scores that these very bytes have already."""
        scores = self._database.scores
        return self._transact(
            lambda: {content: Score(scores[content]) for content in content_hashes if content in scores}
        )

    def record(
        self,
        results: Sequence[Result],
        *,
        model_version: int,
        token: FencingToken,
        decoder_version: int,
        rescan: bool = False,
    ) -> list[Outcome]:
        """Store in one transaction, under the locks of the images' rows, while no newer run begins."""

        def decided() -> list[tuple[Result, WriteDecision]]:
            rows = self._database.rows
            return [
                (
                    result,
                    decide(
                        row.decides if (row := rows.get(result.image.identity)) else None,
                        result,
                        token=token,
                        rescan=rescan,
                        decoder_version=decoder_version,
                    ),
                )
                for result in results
            ]

        identities = sorted(result.image.identity for result in results)
        return self._retried(lambda: self._write_locked(identities, decided, token))

    # ---- scans ----------------------------------------------------------------------------------------------

    def open(
        self, request: ScanRequest, model_version: int, threshold: float, *, holder: str, lease_s: float
    ) -> FencingToken:
        """Begin the next run, once nobody holds the scan or stores for an earlier run of it."""
        database = self._database

        def fenced() -> FencingToken:
            self._wait_for(lambda: not any(other.is_open for _, other in database.sharing))
            number = database.scan_numbers.get(request.scan_id, 0)
            holding, until = database.leases.get(number, (holder, 0.0))
            ends_at = datetime(2026, 11, 20, tzinfo=UTC) + timedelta(seconds=until)
            refuse_leased(Lease(request.scan_id, holding, ends_at, until - database.clockwork.now), holder)
            database.check_lease(number, holder)
            token = database.open(request.scan_id)
            database.leases[token.scan_number] = holder, database.clockwork.now + lease_s
            return token

        return self._transact(fenced)

    def renew(self, token: FencingToken, lease_s: float) -> None:
        """Keep the scan for so long from now."""
        database = self._database

        def longer() -> None:
            refuse_superseded("it", database.run_numbers[token.scan_number], token.run_number)
            holder, _ = database.leases[token.scan_number]
            database.leases[token.scan_number] = holder, database.clockwork.now + lease_s

        self._transact(longer)

    def close(self, certificate: Certificate) -> None:
        """Store the certificate."""
        database = self._database

        def store() -> None:
            newest = database.run_numbers[database.scan_numbers[certificate.scan_id]]
            number = database.scan_numbers[certificate.scan_id]
            refuse_superseded(certificate.scan_id, newest, certificate.run_number)
            database.check_token(FencingToken(number, certificate.run_number), newest)
            database.certificates.append(certificate)
            database.leases.pop(number, None)

        self._transact(store)

    def tallies(self, token: FencingToken) -> tuple[OutcomeTally, ...]:
        """What that run has committed."""
        return self._transact(
            lambda: tuple(
                OutcomeTally(outcome, code, tally.images, tally.flagged, tally.digest)
                for (outcome, code), tally in self._database.tallies.get(token, {}).items()
            )
        )

    def flagged(self, token: FencingToken) -> int:
        """How many images that scan has scored at or above the threshold, in all its runs."""
        runs = self._database.tallies
        scored = (Outcome.PREDICTED, Outcome.REUSED)
        return self._transact(
            lambda: sum(
                tally.flagged
                for run, of_run in runs.items()
                if run.scan_number == token.scan_number
                for (outcome, _), tally in of_run.items()
                if outcome in scored
            )
        )

    def unreadable(self, token: FencingToken) -> int:
        """How many images that scan has found unreadable, in all its runs."""
        runs = self._database.tallies
        return self._transact(
            lambda: sum(
                tally.images
                for run, of_run in runs.items()
                if run.scan_number == token.scan_number
                for (outcome, _), tally in of_run.items()
                if outcome is Outcome.UNREADABLE
            )
        )

    def failure_samples(self, token: FencingToken, model_version: int, count: int) -> tuple[FailureSample, ...]:
        """Not used: it decides nothing."""
        return ()

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
        return self._retry.call(transaction, clock=clockwork.time, sleep=clockwork.sleep, uniform=self._rng.uniform)

    def _travel(self) -> None:
        low, high = LATENCY_S
        self._database.clockwork.sleep(low + (high - low) * self._rng.random())
        if self._database.is_away:
            raise RetryLater("it is away")

    def _write_locked(
        self, identities: list[bytes], decided: Callable[[], list[tuple[Result, WriteDecision]]], token: FencingToken
    ) -> list[Outcome]:
        try:
            self._travel()
            refuse_superseded("it", self._database.run_numbers[token.scan_number], token.run_number)
            self._database.sharing.append((token.scan_number, self))
            self._lock(identities)
            decisions = decided()
            self._travel()
            self._commit(decisions, token)
        finally:
            self._unlock()
        return [decision.counts.outcome for _, decision in decisions]

    def _lock(self, identities: list[bytes]) -> None:
        locks = self._database.locks
        for identity in identities:
            # Of a process that died the server has rolled the transaction back.
            self._wait_for(lambda i=identity: (h := locks.get(i)) in (None, self) or h is None or not h.is_open)  # type: ignore[misc]
            locks[identity] = self

    def _wait_for(self, is_free: Callable[[], bool]) -> None:
        clockwork = self._database.clockwork
        deadline = clockwork.now + LOCK_WAIT_S
        while not is_free():
            if clockwork.now >= deadline:
                raise RetryLater("lock wait time-out")
            clockwork.sleep(0.01)

    @property
    def is_open(self) -> bool:
        """Whether the server still has to respect its locks."""
        return self._process.alive or self._commits

    def _unlock(self) -> None:
        database = self._database
        database.sharing = [(number, holder) for number, holder in database.sharing if holder is not self]
        for identity in [identity for identity, holder in database.locks.items() if holder is self]:
            del database.locks[identity]

    def _commit(self, decisions: list[tuple[Result, WriteDecision]], token: FencingToken) -> None:
        """Once the commit is on its way it happens, or not, whatever becomes of the process that sent it."""
        database, clockwork = self._database, self._database.clockwork
        thread, answered, failure = clockwork.this_thread(), False, ""

        def happen() -> None:
            nonlocal answered, failure
            self._commits = False
            fault = database.faults.pop(0) if database.faults else None
            if database.is_away or fault in (CommitFault.TORN, CommitFault.DEADLOCK):
                failure = fault or "it is away"
            elif fault is not CommitFault.LOST:
                for result, decision in decisions:
                    database.apply(result, decision, token)
                failure = fault or ""
            answered = True
            thread.resume_after(0.001)

        self._commits = True
        clockwork.after(LATENCY_S[0], happen)
        while not answered:
            thread.park()
        if failure:
            raise RetryLater(failure)
