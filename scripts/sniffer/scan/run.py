"""One scan, from opening it in the store to its certificate; everything that it uses is passed in."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from sniffer.adapters.images import DECODER_VERSION, PREPROCESSING_VERSION
from sniffer.core.errors import ContractError, SettingsError, SnifferError
from sniffer.core.model_records import ModelRecord
from sniffer.core.progress_bar import ProgressBar
from sniffer.core.records import (
    Certificate,
    FailureSample,
    FencingToken,
    ListedObject,
    Outcome,
    OutcomeTally,
    ScanRequest,
)
from sniffer.core.settings import FleetSettings
from sniffer.scan.certificate import MAX_SAMPLES, StoredRows, certify
from sniffer.scan.channel import Clock, ProducerChannel
from sniffer.scan.dispatch import Dispatcher
from sniffer.scan.lister import Lister
from sniffer.scan.listing import ListingTally
from sniffer.scan.messages import Welcome
from sniffer.scan.progress import ScanProgress


class ScanStore(Protocol):
    """Opens and closes a scan, and counts what is stored. Each call is one transaction."""

    def open(self, request: ScanRequest, model_version: int, threshold: float) -> FencingToken:
        """Note that the scan runs (again, after a resume), and fence every earlier run of it off.

        ContractError when its id belongs to another bucket.
        """

    def close(self, certificate: Certificate) -> None:
        """Store the certificate and the final state. Idempotent; SupersededRun unless it is of the newest run."""

    def tallies(self, token: FencingToken) -> tuple[OutcomeTally, ...]:
        """What that run has committed, by outcome and code."""

    def stored_outcomes(self, scan_id: str) -> Mapping[Outcome, int]:
        """How many predictions this scan owns now, by outcome: counted from the rows, not from memory."""

    def flagged_count(self, scan_id: str, threshold: float) -> int:
        """How many images of this scan are at or above the threshold."""

    def failure_samples(self, scan_id: str, count: int) -> tuple[FailureSample, ...]:
        """Examples of images of this scan without a score."""

    def rival_rescans(self, scan_id: str, bucket: str, since: datetime) -> list[str]:
        """Rescans of the bucket that ran at or after `since`."""


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
    recheck: Callable[[], None]
    """Asks again whether model server and MySQL are what this scan needs; ContractError or SettingsError if not."""


class ScanRun:
    """One run of a scan. `clock` measures durations, `now` is the time of day in UTC."""

    def __init__(
        self,
        request: ScanRequest,
        model: ModelRecord,
        store: ScanStore,
        source: Source,
        channel: ProducerChannel,
        settings: FleetSettings,
        clock: Clock,
        now: Callable[[], datetime],
        progress_file: Path | None = None,
        bar: ProgressBar | None = None,
    ) -> None:
        self._request = request
        self._model = model
        self._store = store
        self._tally = source.tally
        self._settings = settings
        self._clock = clock
        self._now = now
        self._progress = ScanProgress(source.tally, progress_file, clock, bar)
        self.dispatcher = Dispatcher(
            channel,
            Lister(source.pages, source.lister, channel.wake),
            source.fetch,
            source.fetchers,
            settings,
            self._progress,
            clock,
            source.recheck,
        )

    def run(self) -> Certificate:
        """Hand out every image, then certify what became of them.

        A scan that ends early has a certificate that says why; settings and contracts that are wrong are raised after
        it has been stored.
        """
        started_at, began_at = self._clock(), self._now()
        before = self._store.stored_outcomes(self._request.scan_id)
        token = self._store.open(self._request, self._model.version, self._model.threshold)
        error = self._dispatch(token)
        ledger = self.dispatcher.ledger
        self._progress.report(ledger.done, ledger.in_flight, len(ledger.alive), at_once=True)
        certificate = certify(
            self._request,
            self._model,
            PREPROCESSING_VERSION,
            DECODER_VERSION,
            token,
            self._tally,
            ledger.counts,
            self._stored_rows(token, before, began_at),
            duration_s=self._clock() - started_at,
            error_budget=self._settings.error_budget,
            interruption=str(error) if error else None,
            pace=self._progress.pace(),
        )
        self._store.close(certificate)
        if isinstance(error, SettingsError | ContractError):
            raise error
        return certificate

    def stop(self) -> None:
        """End soon, incomplete. Safe in a signal handler."""
        self.dispatcher.stop()

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
        return None

    def _stored_rows(self, token: FencingToken, before: Mapping[Outcome, int], began_at: datetime) -> StoredRows:
        scan_id = self._request.scan_id
        return StoredRows(
            before=before,
            after=self._store.stored_outcomes(scan_id),
            flagged=self._store.flagged_count(scan_id, self._model.threshold),
            samples=self._store.failure_samples(scan_id, MAX_SAMPLES),
            tallies=self._store.tallies(token),
            rivals=tuple(self._store.rival_rescans(scan_id, self._request.bucket, began_at)),
        )
