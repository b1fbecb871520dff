"""`sniffer produce`: the producer of the fleet. Checks what can be wrong beforehand, dispatches the
images of the bucket to the consumers that connect, and certifies the scan.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.s3.bucket import Bucket
from sniffer.adapters.serving import ModelServer
from sniffer.core.background import BackgroundThread, BackgroundThreads
from sniffer.core.ending import Ending
from sniffer.core.errors import ContractError, HeldScan, SettingsError
from sniffer.core.files import check_writable
from sniffer.core.flag_records import FloodRule
from sniffer.core.logs import configure_logging
from sniffer.core.metrics import (
    FETCHED_BYTES,
    LAST_PROGRESS,
    STAGE_SECONDS,
    Giver,
    Metrics,
    counting_retries,
    each_timed,
)
from sniffer.core.model_records import PIXEL_BYTES, ModelRecord
from sniffer.core.parser import Parser, positive
from sniffer.core.program import Program, ProgramResult
from sniffer.core.progress_bar import ProgressBar, shows_bars
from sniffer.core.records import Certificate, ListedObject
from sniffer.core.settings import (
    FleetSettings,
    ShardSettings,
    curve_clients,
    curve_keys,
    database_settings,
    fleet_settings,
    serving_settings,
    shard_settings,
)
from sniffer.core.shard_records import ShardChoice
from sniffer.scan import progress
from sniffer.scan.bounds import ShardBound
from sniffer.scan.breaker import FloodBreaker
from sniffer.scan.certificate import describe
from sniffer.scan.estimate import ScanEstimate, basis_of
from sniffer.scan.growth import GrowthRoom
from sniffer.scan.last_figures import LastFigures
from sniffer.scan.lease import LeaseKeeper
from sniffer.scan.listing import ListingTally, empty_window_hint
from sniffer.scan.lookup import images_to_do
from sniffer.scan.metrics_flags import (
    METRICS_ENVIRONMENT,
    add_metrics_flags,
    add_metrics_folder,
    add_next_due,
    opened_metrics,
)
from sniffer.scan.preflight import ask, check_everything, open_checked_bucket, resolve_model
from sniffer.scan.request import (
    PART_OF_SCAN,
    SCAN_ENVIRONMENT,
    ScanOptions,
    add_scan_flags,
    add_shard_flags,
    scan_options,
)
from sniffer.scan.run import ScanRun, Source
from sniffer.scan.stored_shards import next_part, take_room
from sniffer.scan.wire import ProducerSocket

log = logging.getLogger(__name__)


def _add_arguments(parser: Parser) -> None:
    add_scan_flags(parser)
    add_shard_flags(parser)
    add_metrics_flags(parser)
    add_metrics_folder(parser)
    add_next_due(parser)
    parser.add_argument("--endpoint", help="where consumers connect: tcp://127.0.0.1:5555, or ipc://path")
    # For `sniffer scan`, which draws a bar from the file of --progress.
    parser.add_argument("--no-progress-lines", action="store_true", help=argparse.SUPPRESS)
    # Of `sniffer scan`, by whose name errors are reported.
    parser.add_argument(PART_OF_SCAN, action="store_true", help=argparse.SUPPRESS)
    # Of `sniffer scan` that was given no scan id: nobody can have run this scan before.
    parser.add_argument("--first-start", action="store_true", help=argparse.SUPPRESS)
    # Of `sniffer scan --dry-run`, whose estimate is for so many.
    parser.add_argument("--consumers", type=positive, help=argparse.SUPPRESS)


def _run_program(arguments: argparse.Namespace) -> ProgramResult:
    options = scan_options(arguments)
    configure_logging("produce", options.request.scan_id)
    if options.progress is not None:
        check_writable(options.progress)
    if arguments.no_progress_lines:
        logging.getLogger(progress.__name__).setLevel(logging.WARNING)
    if options.dry_run:
        return _dry_run(options, arguments.consumers)
    may_resume = arguments.scan_id is not None and not arguments.first_start
    with opened_metrics(arguments, Giver.PRODUCER) as metrics:
        return _scan(options, arguments, metrics, may_resume=may_resume)


PROGRAM = Program(
    command="sniffer produce",
    summary="List a bucket, hand its images out to the consumers that connect to --endpoint, and certify the scan. "
    "`sniffer scan` does the same with consumers of its own. Run it again with the same flags to do what is left.",
    run=_run_program,
    add_arguments=_add_arguments,
    examples=(
        "sniffer produce --bucket uploads --prefix 2026/11/ --endpoint tcp://0.0.0.0:5555",
        "sniffer produce --bucket uploads --dry-run",
    ),
    environment=(
        *SCAN_ENVIRONMENT,
        "SNIFFER_CURVE_PUBLIC_FILE",
        "SNIFFER_CURVE_SECRET_FILE",
        "SNIFFER_CURVE_SERVER_FILE",
        "SNIFFER_CURVE_CLIENTS_FILE",
        "SNIFFER_LOG_FORMAT",
        *METRICS_ENVIRONMENT,
    ),
    hands_on=True,
    has_text=True,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program. Exit status: 0 the certificate holds, 1 it does not, 2 wrong usage or settings."""
    words = sys.argv[1:] if argv is None else argv
    program = replace(PROGRAM, command="sniffer scan") if PART_OF_SCAN in words else PROGRAM
    return program.main(argv)


def _scan(options: ScanOptions, arguments: argparse.Namespace, metrics: Metrics, *, may_resume: bool) -> ProgramResult:
    if not arguments.endpoint:
        raise SettingsError("--endpoint is needed, for example tcp://127.0.0.1:5555 (only --dry-run does without)")
    fleet = fleet_settings()
    metrics.stamp(LAST_PROGRESS)
    room: GrowthRoom | None = None
    with _shown_to_the_end(metrics), _database(metrics) as database:
        if options.shard is not None:
            ask("MySQL", database.check, database_settings().patience_s)
            part = next_part(database, options.shard)
            if isinstance(part, Certificate):
                log.info("shard %d of %s is complete: nothing is left", options.shard.shard, options.shard.scan_id)
                whole = database.shards.find(options.shard.scan_id)
                dag_run = whole.request.dag_run if whole else None
                LastFigures(metrics, options.shard, dag_run, arguments.next_due).show_complete(options.shard)
                return _result(part, options, _held_whole(options.shard))
            options = replace(options, request=part.request, model_version=part.model_version)
            may_resume, room = not part.is_first_start, part.room
        model, bucket = check_everything(database, options, metrics, may_resume=may_resume)
        metrics.of_scan(options.request.scan_id)
        last = LastFigures(metrics, options.shard, options.request.dag_run, arguments.next_due)
        with ProducerSocket(arguments.endpoint, curve_keys(), curve_clients()) as socket, _bar() as bar:
            certificate = _run_scan(options, database, model, bucket, socket, fleet, bar, metrics, last, room)
    for warning in certificate.warnings:
        log.warning("%s", warning)
    return _result(certificate, options, None if options.shard is None else _held_whole(options.shard))


def _held_whole(choice: ShardChoice) -> HeldScan | None:
    """That the scan is held of which this is a shard: each shard that ends then says so."""
    with Database(database_settings()) as database:
        reason = database.holds.held_for(choice.scan_id)
    return HeldScan(choice.scan_id, reason) if reason else None


def _result(certificate: Certificate, options: ScanOptions, held: HeldScan | None = None) -> ProgramResult:
    """`held`: that the scan is of which this is a shard."""
    text = describe(certificate, retried=options.request.retry_failed)
    if held is None and certificate.is_held:
        held = HeldScan(certificate.scan_id, certificate.held)
    if held is not None:
        return ProgramResult(certificate.document(), text, held.exit_status, str(held))
    problem = "" if certificate.holds else f"the certificate does not hold: {'; '.join(certificate.problems)}"
    return ProgramResult(certificate.document(), text, 1 if problem else 0, problem)


@contextmanager
def _shown_to_the_end(metrics: Metrics) -> Iterator[None]:
    """Within it a scan runs; where it leaves a certificate, also one of a scan that fails, its figures are shown."""
    try:
        yield
    except (SettingsError, ContractError):
        _linger(metrics)
        raise
    _linger(metrics)


def _linger(metrics: Metrics) -> None:
    with Ending.by(metrics.stop_lingering):
        metrics.linger()


def _database(metrics: Metrics) -> Database:
    return Database(database_settings(), on_retry=counting_retries(metrics, "mysql"))


def _bar() -> AbstractContextManager[ProgressBar | None]:
    """A progress bar, where somebody would see it."""
    return ProgressBar("scan") if shows_bars() else nullcontext()


def _run_scan(
    options: ScanOptions,
    database: Database,
    model: ModelRecord,
    bucket: Bucket,
    socket: ProducerSocket,
    fleet: FleetSettings,
    bar: ProgressBar | None,
    metrics: Metrics,
    last: LastFigures,
    room: GrowthRoom | None,
) -> Certificate:
    request, tally = options.request, ListingTally()
    # Each of their threads has a connection of its own.
    with (
        _database(metrics) as listing_database,
        _database(metrics) as lease_database,
        _database(metrics) as flag_database,
    ):
        pages = images_to_do(request, listing_database, model, bucket, tally, _bound(options, bucket))
        if room is not None and (choice := options.shard) is not None:
            pages = room.kept(pages, tally, lambda listed: take_room(listing_database, choice, request.scan_id, listed))
        source = Source(
            each_timed(metrics, STAGE_SECONDS, pages, stage="list"),
            tally,
            _measured_fetch(bucket, metrics),
            BackgroundThread("list"),
            BackgroundThreads("fetch", fleet.fetch_threads),
            LeaseKeeper(lease_database.scans.renew, BackgroundThread("lease"), fleet.lease_s, time.monotonic),
            FloodBreaker(
                flag_database.holds,
                FloodRule.parse(request.flood_band),
                BackgroundThread("flood"),
                time.monotonic,
                lambda: tally.listed - tally.decided,
            ),
            lambda: _recheck(model),
        )
        run = ScanRun(
            request,
            model,
            database.scans,
            database.holds,
            source,
            socket,
            fleet,
            time.monotonic,
            progress_file=options.progress,
            bar=bar,
            metrics=metrics,
            on_certified=last.show,
        )
        with Ending.by(run.stop):
            certificate = run.run()
    if hint := empty_window_hint(request, tally):
        log.info("%s", hint)
    return certificate


def _measured_fetch(bucket: Bucket, metrics: Metrics) -> Callable[[ListedObject], bytes]:
    def fetch(image: ListedObject) -> bytes:
        with metrics.timed(STAGE_SECONDS, stage="fetch"):
            content = bucket.fetch(image)
        metrics.add(FETCHED_BYTES, len(content))
        return content

    return fetch


def _recheck(model: ModelRecord) -> None:
    """See for ourselves what a consumer calls a fatal error: ask MySQL, and have the model server score a picture."""
    with Database(database_settings()) as database, ModelServer(serving_settings()) as server:
        database.check()
        if database.models.get(model.version) is None:
            raise ContractError(f"model version {model.version} is not registered in MySQL any more")
        server.check(model.version)
        server.predict(model.version, [bytes(PIXEL_BYTES)])


def _bound(options: ScanOptions, bucket: Bucket) -> ShardBound | None:
    """What ends the scan of a shard early: only where pages come in the order of their keys."""
    if options.shard is None or options.request.retry_failed or not bucket.is_ordered:
        if options.end_at is not None:
            why = "only what failed is tried again" if bucket.is_ordered else "the bucket lists in no order"
            log.warning("--end-at does not end this scan, since %s: it goes on until all is done", why)
        return None
    return ShardBound(_until(options.end_at), time.monotonic, time.monotonic())


def _until(end_at: datetime | None) -> ShardSettings:
    """How much the scan of a shard does, which ends at that time at the latest."""
    limits = shard_settings()
    if end_at is None:
        return limits
    left_s = max(0.0, (end_at - datetime.now(UTC)).total_seconds())
    return replace(limits, seconds=min(limits.seconds, left_s))


def _dry_run(options: ScanOptions, consumers: int | None) -> ProgramResult:
    """List and look up as a scan would; say what it would do and for how long. Changes nothing."""
    with Database(database_settings()) as database:
        database.check()
        model = resolve_model(database, options.model_version)
        bucket = open_checked_bucket(options.request)
        tally, began_at = ListingTally(), time.monotonic()
        new = sum(len(page) for page in images_to_do(options.request, database, model, bucket, tally))
        listing_s = time.monotonic() - began_at
        basis = basis_of(database.scans.measured(model.version), options.request.bucket, consumers)
        estimate = ScanEstimate.of(options.request, model.version, tally, new, listing_s, basis)
    return ProgramResult(estimate, estimate.describe())


if __name__ == "__main__":
    sys.exit(main())
