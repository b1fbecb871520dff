"""`sniffer scan`: one whole scan on this machine. Spawns the producer and N consumers, restarts a consumer
that crashes, and ends with the producer's exit status.
"""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from sniffer.core.ending import Ending
from sniffer.core.errors import IncompleteScan, SettingsError
from sniffer.core.flags import render_flags
from sniffer.core.logs import configure_logging
from sniffer.core.parser import Parser, positive
from sniffer.core.program import Program
from sniffer.core.progress_bar import shows_bars
from sniffer.core.settings import database_settings, default_consumers, fleet_settings, image_settings, serving_settings
from sniffer.scan.folder import private_folder
from sniffer.scan.metrics_flags import (
    METRICS_ENVIRONMENT,
    add_metrics_flags,
    add_next_due,
    asked_metrics,
    metrics_argv,
)
from sniffer.scan.request import (
    PART_OF_SCAN,
    SCAN_ENVIRONMENT,
    ScanOptions,
    add_scan_flags,
    add_shard_flags,
    output_argv,
    scan_argv,
    scan_options,
)
from sniffer.scan.terminal import ScanDisplay

log = logging.getLogger(__name__)

POLL_S = 0.1
STOP_GRACE_S = 2.5
"""How long consumers may take to finish once the producer has ended, before SIGKILL."""
STOP_LIMIT_S = 4.0
"""How long anyone may take after we were told to stop, before SIGKILL: Airflow gives a killed task five seconds."""
_PR_SET_PDEATHSIG = 1


class Fleet:
    """The producer and the consumers of one scan, as child processes that cannot outlive this one."""

    def __init__(
        self,
        producer_argv: Sequence[str],
        consumer_argv: Sequence[str],
        consumers: int,
        endpoint: str,
        max_restarts: int,
        display: ScanDisplay | None = None,
    ) -> None:
        self._producer_argv = producer_argv
        self._consumer_argv = consumer_argv
        self._endpoint = endpoint
        self._restarts_left = max_restarts
        self._display = display
        self._wanted = consumers
        self._consumers: dict[int, subprocess.Popen[bytes]] = {}
        self._producer: subprocess.Popen[bytes] | None = None
        self._stopped_at: float | None = None

    def stop(self) -> None:
        """End soon, incomplete: the producer certifies what there is. Safe in a signal handler."""
        if self._stopped_at is None:
            self._stopped_at = time.monotonic()
        for child in self._children():
            if child.poll() is None:
                child.terminate()

    def run(self) -> int:
        """Run until the producer ends; returns its exit status. Raises IncompleteScan when the fleet breaks down."""
        producer = self._producer = self._spawn(
            "sniffer.scan.produce", [PART_OF_SCAN, *self._producer_argv, f"--endpoint=ipc://{self._endpoint}"]
        )
        if self._stopped_at is not None:
            self.stop()  # asked before there was a producer
        try:
            while producer.poll() is None and not self._is_overdue():
                self._tend_consumers()
                self._wait_a_moment(producer)
        finally:
            self._reap()
        return self._status(producer.returncode)

    def _children(self) -> list[subprocess.Popen[bytes]]:
        return [*([self._producer] if self._producer else []), *self._consumers.values()]

    def _is_overdue(self) -> bool:
        return self._stopped_at is not None and time.monotonic() - self._stopped_at > STOP_LIMIT_S

    def _spawn(self, module: str, flags: Sequence[str]) -> subprocess.Popen[bytes]:
        if self._display is None:
            return _spawn(module, flags)
        child = _spawn(module, flags, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._display.watch(child)
        return child

    def _wait_a_moment(self, producer: subprocess.Popen[bytes]) -> None:
        if self._display is not None:
            self._display.wait(POLL_S)
            return
        try:
            producer.wait(POLL_S)
        except subprocess.TimeoutExpired:
            return

    def _tend_consumers(self) -> None:
        if self._stopped_at is not None:
            return
        for number in range(self._wanted):
            consumer = self._consumers.get(number)
            if consumer is None:
                self._start_consumer(number)
            elif consumer.poll() not in (None, 0):
                self._restart_consumer(number, consumer.returncode)

    def _start_consumer(self, number: int) -> None:
        # They start while the producer checks everything; it alone says what is wrong.
        flags = [f"--endpoint=ipc://{self._endpoint}", f"--name=consumer-{number}", "--skip-checks"]
        flags.append(f"--reason={self._reason_file(number)}")
        self._consumers[number] = self._spawn("sniffer.scan.consume", [*flags, *self._consumer_argv])

    def _restart_consumer(self, number: int, status: int) -> None:
        if status == SettingsError.exit_status:
            self._end_producer()
            raise SettingsError(f"consumer {number} cannot work with its settings: {self._reason(number)}")
        if self._restarts_left <= 0:
            self._end_producer()
            raise IncompleteScan(
                f"consumer {number} ended with {_ending(status)}, and no restart is left (SNIFFER_MAX_RESTARTS): see "
                "its last log lines, then run again with the same flags to do what is left"
            )
        self._restarts_left -= 1
        log.warning("consumer %d ended with %s: starting it again", number, _ending(status))
        time.sleep(POLL_S)
        self._start_consumer(number)

    def _reason_file(self, number: int) -> Path:
        return Path(f"{self._endpoint}-reason-{number}")

    def _reason(self, number: int) -> str:
        """Why a consumer ended, in its own words."""
        try:
            return self._reason_file(number).read_text("utf-8")
        except OSError:  # it ended before it could read its flags
            return "its own line above says why"

    def _end_producer(self) -> None:
        """Let it certify what there is; it may be ending already, told by the consumer what was wrong."""
        self.stop()
        # What it writes is read meanwhile: a full pipe would hold it up.
        while self._producer is not None and self._producer.poll() is None and not self._is_overdue():
            self._wait_a_moment(self._producer)

    def _status(self, status: int) -> int:
        if status >= 0:
            return status
        raise IncompleteScan(
            f"the producer ended with {_ending(status)}: what consumers have stored counts; run again with the same "
            "flags to do what is left"
        )

    def _reap(self) -> None:
        children = self._children()
        for child in children:
            if child.poll() is None:
                child.terminate()
                child.send_signal(signal.SIGCONT)
        now = time.monotonic()
        deadline = min(now + STOP_GRACE_S, (self._stopped_at or now) + STOP_LIMIT_S)
        for child in children:
            try:
                child.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _add_arguments(parser: Parser) -> None:
    add_scan_flags(parser)
    add_shard_flags(parser)
    add_metrics_flags(parser)
    add_next_due(parser)
    parser.add_argument(
        "--consumers", type=positive, metavar="N", help="processes (default: SNIFFER_CONSUMERS, else cores + 1)"
    )


def _run_program(arguments: argparse.Namespace) -> int:
    options = scan_options(arguments)
    configure_logging("scan", options.request.scan_id)
    consumers = arguments.consumers or default_consumers()
    if options.dry_run:
        argv = [PART_OF_SCAN, *scan_argv(options), *output_argv(arguments), f"--consumers={consumers}"]
        dry_run = _spawn("sniffer.scan.produce", argv)
        with Ending.by(dry_run.terminate):
            return dry_run.wait()
    return _run(options, arguments, consumers)


PROGRAM = Program(
    command="sniffer scan",
    summary="Scan a bucket on this machine: list it, score every image that has no result of this model version yet, "
    "store the rows, and print a certificate that every listed object is accounted for. Run it again with the same "
    "flags to do what is left.",
    run=_run_program,
    add_arguments=_add_arguments,
    examples=(
        "sniffer scan --bucket uploads --prefix 2026/11/",
        "sniffer scan --bucket uploads --dry-run                  # how many are new, and for how long",
        "sniffer scan --bucket uploads --retry-failed             # only what failed before",
        "sniffer scan --bucket uploads --json > certificate.json",
        "sniffer scan --shard-of archive-1 --shard 3              # one shard of `sniffer plan --scan-id archive-1`",
    ),
    environment=(
        *SCAN_ENVIRONMENT,
        "SNIFFER_CONSUMERS",
        "SNIFFER_MAX_RESTARTS",
        "SNIFFER_LOG_FORMAT",
        *METRICS_ENVIRONMENT,
    ),
    hands_on=True,
    has_text=True,
    grace_s=None,  # nothing here waits for long, and a process that forks has no second thread
)


main = PROGRAM.main


def _run(options: ScanOptions, arguments: argparse.Namespace, consumers: int) -> int:
    # Whatever can be seen without asking anybody is refused here, once, and not by every process of the fleet.
    for read in (database_settings, serving_settings, image_settings):
        read()
    metrics = asked_metrics(arguments)
    consumer_argv = render_flags({"log_format": arguments.log_format})
    # The folder is ours alone (mode 0700), so nobody else on this machine can reach the socket in it.
    with private_folder("fleet") as folder, _display(options, folder) as display:
        argv = scan_argv(options)
        if display is not None:
            argv = [*scan_argv(replace(options, progress=display.progress_file)), "--no-progress-lines"]
        endpoint, max_restarts = f"{folder}/fleet", fleet_settings().max_restarts
        if arguments.scan_id is None:
            argv.append("--first-start")
        if metrics is not None:
            figures = folder / "metrics"
            figures.mkdir()
            argv += metrics_argv(metrics, figures, arguments.next_due)
            consumer_argv += render_flags({"metrics_folder": figures})
        fleet = Fleet([*argv, *output_argv(arguments)], consumer_argv, consumers, endpoint, max_restarts, display)
        with Ending.by(fleet.stop):
            return fleet.run()


@contextmanager
def _display(options: ScanOptions, folder: Path) -> Iterator[ScanDisplay | None]:
    """A progress bar, where somebody would see it."""
    if not shows_bars():
        yield None
        return
    with ScanDisplay(options.progress or folder / "progress.json") as display:
        yield display


def _spawn(module: str, flags: Sequence[str], **streams: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", module, *flags]
    tie = partial(_die_with, os.getpid())
    # Safe here: this process has no threads.
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=tie, **streams)  # type: ignore[call-overload,no-any-return]  # noqa: PLW1509


def _die_with(parent: int) -> None:
    """In the child: SIGTERM when its parent dies, even by SIGKILL (prctl(2), Linux), or has died already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)


def _ending(status: int) -> str:
    return f"signal {-status} ({signal.Signals(-status).name})" if status < 0 else f"exit status {status}"


if __name__ == "__main__":
    sys.exit(main())
