"""`sniffer consume`: one consumer of the fleet. Takes images from the producer, scores them, stores
the rows.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import platform
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sniffer.adapters.mysql.database import Database
from sniffer.adapters.serving import ModelServer
from sniffer.core.background import BackgroundThread
from sniffer.core.ending import Ended, Ending
from sniffer.core.errors import SnifferError, TransientError
from sniffer.core.files import write_text
from sniffer.core.logs import configure_logging
from sniffer.core.metrics import Giver, Metrics, counting_retries
from sniffer.core.parser import Parser
from sniffer.core.program import Program
from sniffer.core.settings import (
    curve_keys,
    database_settings,
    fleet_settings,
    image_settings,
    serving_settings,
)
from sniffer.decoding.process import open_decoder
from sniffer.scan.consumer import Consumer, NoProducer
from sniffer.scan.metrics_flags import METRICS_ENVIRONMENT, add_metrics_flags, add_metrics_folder, opened_metrics
from sniffer.scan.request import scan_id
from sniffer.scan.score import Scorer
from sniffer.scan.wire import ConsumerSocket

log = logging.getLogger(__name__)

LATE_S = 5.0
"""How long a producer that starts a complete scan once more is waited for."""


def _add_arguments(parser: Parser) -> None:
    parser.add_argument("--endpoint", required=True, help="the producer: tcp://host:port, or ipc://path")
    parser.add_argument("--name", help="what logs call this consumer (default: the machine's name)")
    parser.add_argument(
        "--scan-id",
        type=scan_id,
        metavar="ID",
        help="the scan that it is for: when that is complete, and no producer answers, it ends at once, with success",
    )
    parser.add_argument(
        "--skip-checks",
        action="store_true",
        help="as a part of `sniffer scan`: the producer checks everything, and is waited for as long as that takes",
    )
    add_metrics_flags(parser)
    add_metrics_folder(parser)
    # Of `sniffer scan`, which ends with what is written there.
    parser.add_argument("--reason", type=Path, help=argparse.SUPPRESS)


def _run(arguments: argparse.Namespace) -> int:
    # In a container every process has the number 1: only the machine's name tells them apart.
    name = f"{arguments.name or platform.node()}-{os.getpid()}"
    configure_logging(name, arguments.scan_id or "")
    try:
        with opened_metrics(arguments, Giver.CONSUMER) as metrics:
            return _consume(arguments.endpoint, name, arguments.scan_id, metrics, check=not arguments.skip_checks)
    except Ended as error:
        # While it starts or ends: what it had not finished, if it had anything, is the producer's again.
        log.info("ended by a signal")
        return 0 if error.number == signal.SIGTERM else error.exit_status
    except SnifferError as error:
        # As a line of the log, since the scan shows the lines of many consumers.
        log.error("%s", error)
        if arguments.reason is not None:
            write_text(arguments.reason, str(error).encode(errors="backslashreplace").decode())
        return error.exit_status


PROGRAM = Program(
    command="sniffer consume",
    summary="Take images from the producer at --endpoint, score them, and store the rows. Start as many as the model "
    "server can feed; each may be stopped at any time by SIGTERM, and hands back what it has not finished.",
    run=_run,
    add_arguments=_add_arguments,
    examples=(
        "sniffer consume --endpoint tcp://producer:5555",
        "sniffer consume --endpoint tcp://producer:5555 --scan-id backfill-2026",
    ),
    environment=(
        "SNIFFER_DATABASE_URL",
        "SNIFFER_DATABASE_PATIENCE_S",
        "SNIFFER_SERVING_URL",
        "SNIFFER_SERVING_PATIENCE_S",
        "SNIFFER_SERVING_CONNECT_TIMEOUT_S",
        "SNIFFER_SERVING_READ_TIMEOUT_S",
        "SNIFFER_BATCH_SIZE",
        "SNIFFER_MAX_IMAGE_BYTES",
        "SNIFFER_MAX_IMAGE_PIXELS",
        "SNIFFER_DECODE_CPU_S",
        "SNIFFER_DECODE_MEMORY_BYTES",
        "SNIFFER_BEAT_S",
        "SNIFFER_PRODUCER_DEADLINE_S",
        "SNIFFER_NO_CONSUMER_S",
        "SNIFFER_WORK_LIMIT_S",
        "SNIFFER_CURVE_PUBLIC_FILE",
        "SNIFFER_CURVE_SECRET_FILE",
        "SNIFFER_CURVE_SERVER_FILE",
        "SNIFFER_LOG_FORMAT",
        *METRICS_ENVIRONMENT,
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; the exit status is 0 when the scan has ended, also before we came, or SIGTERM came."""
    return PROGRAM.main(argv)


def _consume(endpoint: str, name: str, scan: str | None, metrics: Metrics, *, check: bool) -> int:
    fleet = fleet_settings()
    on_retry = counting_retries(metrics, "mysql")
    with (
        Database(database_settings(), on_retry=on_retry) as database,
        ModelServer(serving_settings(), metrics) as server,
    ):
        if check:
            _check_database(database)
        else:
            # The scan that started us ends us with its producer, which may wait long for what is away, or for a lease.
            fleet = replace(fleet, no_consumer_s=math.inf)
        if scan is not None and _is_complete(database, scan):
            fleet = replace(fleet, no_consumer_s=min(LATE_S, fleet.no_consumer_s))
        identity = f"{name}-{os.urandom(4).hex()}".encode()
        with (
            open_decoder(image_settings()) as decoder,
            ConsumerSocket(endpoint, identity, curve_keys(), max_image_bytes=fleet.max_image_bytes) as socket,
        ):
            consumer = Consumer(
                socket,
                Scorer(database.images, server, decoder.render, fleet.batch_size, metrics).score,
                BackgroundThread("score"),
                fleet,
                name,
                time.monotonic,
                on_welcome=lambda welcome: _of_scan(welcome.scan_id, name, metrics),
            )
            with Ending.by(consumer.stop):
                try:
                    consumer.run()
                except NoProducer as error:
                    ended = consumer.scan_id or scan
                    if ended is None:
                        raise TransientError(f"{error}; one whose scan has ended is known by --scan-id") from error
                    if not _is_complete(database, ended):
                        raise
                    log.info("scan %s is complete, and its producer has ended: nothing is left to do", ended)
        if consumer.has_joined:
            log.info("ended after %d images", consumer.done)
        elif check:
            log.info("ended before any producer had work for us")
    return 0


def _of_scan(scan: str, name: str, metrics: Metrics) -> None:
    configure_logging(name, scan)
    metrics.of_scan(scan)


def _is_complete(database: Database, scan: str) -> bool:
    """Whether the scan has ended well and was not started again; no when MySQL is away."""
    try:
        return database.scans.is_complete(scan)
    except TransientError as error:
        log.warning("%s", error)
        return False


def _check_database(database: Database) -> None:
    """Wrong settings end here; a database that is away for the moment is waited for when the first row is due."""
    try:
        database.check()
    except TransientError as error:
        log.warning("%s", error)


if __name__ == "__main__":
    sys.exit(main())
