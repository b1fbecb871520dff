"""One scan, from opening it in the store to its certificate; everything that it uses is passed in."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sniffer.adapters.images import DECODER_VERSION, PREPROCESSING_VERSION
from sniffer.core.errors import ContractError, SettingsError, SnifferError, SupersededRun
from sniffer.core.metrics import LAST_PROGRESS, NO_METRICS, Metrics
from sniffer.core.model_records import ModelRecord
from sniffer.core.progress_bar import ProgressBar
from sniffer.core.records import (
    Certificate,
    FailureSample,
    FencingToken,
    ListedObject,
    OutcomeTally,
    ScanRequest,
)
from sniffer.core.settings import FleetSettings
from sniffer.scan.breaker import FlagStore, FloodBreaker
from sniffer.scan.certificate import StoredRows, certify
from sniffer.scan.channel import Clock, ProducerChannel
from sniffer.scan.comparison import acknowledged
from sniffer.scan.dispatch import Dispatcher
from sniffer.scan.figures import show_scan
from sniffer.scan.lease import LeaseKeeper, new_holder, wait_for_lease
from sniffer.scan.lister import Lister
from sniffer.scan.listing import MAX_SAMPLES, ListingTally
from sniffer.scan.messages import Welcome
from sniffer.scan.progress import ScanProgress


class ScanStore(Protocol):
    """Opens and closes a scan, and counts what is stored. Each call is one transaction."""

    def open(
        self, request: ScanRequest, model_version: int, threshold: float, *, holder: str, lease_s: float
    ) -> FencingToken:
        """Note that `holder` runs the scan (again, after a resume), and fence every earlier run of it off.

        ScanInUse while another holder's lease is not over; ContractError when its id belongs to another bucket;
        HeldScan while it is held.
        """

    def close(self, certificate: Certificate) -> None:
        """Store the certificate and the final state. Idempotent; SupersededRun unless it is of the newest run."""

    def tallies(self, token: FencingToken) -> tuple[OutcomeTally, ...]:
        """What that run has committed, by outcome and code."""

    def flagged(self, token: FencingToken) -> int:
        """How many images this scan has scored at or above its threshold, in all its runs."""

    def unreadable(self, token: FencingToken) -> int:
        """How many images this scan has found unreadable, in all its runs."""

    def failure_samples(self, token: FencingToken, model_version: int, count: int) -> tuple[FailureSample, ...]:
        """Examples of images of this scan without a score."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the images come from: pages of those that need an outcome, with their tally, and the way to their bytes.

    `pages` runs on the one thread of `lister`, `fetch` on those of `fetchers`.
    """

    pages: Iterator[list[ListedObject]]
    tally: ListingTally
    fetch: Callable[[ListedObject], bytes]
    lister: Executor
    fetchers: Executor
    keeper: LeaseKeeper
    breaker: FloodBreaker
    recheck: Callable[[], None]
    """Asks again whether model server and MySQL are what this scan needs; ContractError or SettingsError if not."""


class ScanRun:
    """One run of a scan. `clock` measures durations; `sleep` waits for the lease of a run that was killed.

    `on_certified` gets the certificate once it is stored.
    """

    def __init__(
        self,
        request: ScanRequest,
        model: ModelRecord,
        store: ScanStore,
        flags: FlagStore,
        source: Source,
        channel: ProducerChannel,
        settings: FleetSettings,
        clock: Clock,
        sleep: Callable[[float], None] = time.sleep,
        progress_file: Path | None = None,
        bar: ProgressBar | None = None,
        metrics: Metrics = NO_METRICS,
        on_certified: Callable[[Certificate], None] = lambda _: None,
    ) -> None:
        self._request = request
        self._model = model
        self._store = store
        self._flags = flags
        self._breaker = source.breaker
        self._tally = source.tally
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._keeper = source.keeper
        self._stopping = False
        self._metrics = metrics
        self._on_certified = on_certified
        self._progress = ScanProgress(source.tally, progress_file, clock, bar, self._show)
        self.dispatcher = Dispatcher(
            channel,
            Lister(source.pages, source.lister, channel.wake),
            source.fetch,
            source.fetchers,
            settings,
            self._progress,
            clock,
            source.recheck,
            source.keeper,
            source.breaker,
            metrics,
        )

    def run(self) -> Certificate:
        """Hand out every image, then certify what became of them.

        A scan that ends early has a certificate that says why; settings and contracts that are wrong are raised after
        it has been stored. Without one it raises ScanInUse, when another process runs the scan, HeldScan, when a person
        has to decide about it, and SupersededRun, when a newer run has taken over.
        """
        started_at = self._clock()
        holder = new_holder()
        token = wait_for_lease(lambda: self._claim(holder), self._sleep, lambda: self._stopping)
        error = self._dispatch(token)
        if isinstance(error, SupersededRun):
            raise error
        ledger = self.dispatcher.ledger
        hold = self._breaker.judge(self._flags, token, is_finished=error is None)
        if hold.whole:
            # Before its own end: whoever is killed in between has ended nothing, and all of it is held.
            self._flags.hold_plan(token, hold.whole)
        self._progress.report(ledger.done, ledger.in_flight, len(ledger.alive), at_once=True)
        certificate = certify(
            self._request,
            self._model,
            PREPROCESSING_VERSION,
            DECODER_VERSION,
            token,
            self._tally,
            acknowledged(ledger.counts, ledger.digests),
            self._stored_rows(token),
            duration_s=self._clock() - started_at,
            budgets=self._settings.budgets,
            interruption=str(error) if error else None,
            pace=self._progress.pace(),
            hold=hold,
        )
        self._store.close(certificate)
        self._on_certified(certificate)
        if isinstance(error, SettingsError | ContractError):
            raise error
        return certificate

    def stop(self) -> None:
        """End soon, incomplete. Safe in a signal handler."""
        self._stopping = True
        self.dispatcher.stop()

    def _show(self, has_moved: bool) -> None:
        if has_moved:
            self._metrics.stamp(LAST_PROGRESS)
        show_scan(self._metrics, self._tally, self.dispatcher.ledger)

    def _claim(self, holder: str) -> FencingToken:
        model, lease_s = self._model, self._keeper.lease_s
        return self._store.open(self._request, model.version, model.threshold, holder=holder, lease_s=lease_s)

    def _dispatch(self, token: FencingToken) -> SnifferError | None:
        request = self._request
        session = secrets.token_hex(8)
        job = Welcome(
            session, request.scan_id, self._model.version, request.rescan, token.scan_number, token.run_number
        )
        try:
            self.dispatcher.run(job)
        except SnifferError as error:
            return error
        finally:
            self._keeper.end()
            self._breaker.end()
        return None

    def _stored_rows(self, token: FencingToken) -> StoredRows:
        return StoredRows(
            tallies=self._store.tallies(token),
            flagged_new=self._store.flagged(token),
            unreadable=self._store.unreadable(token),
            samples=self._store.failure_samples(token, self._model.version, MAX_SAMPLES),
        )
