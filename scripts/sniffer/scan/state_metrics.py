"""`sniffer state-metrics`: what is stored, for Prometheus, by a program that lives on when scans have ended."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import math
import sys
import time
from collections.abc import Callable

from sniffer.adapters.metrics.opening import open_metrics
from sniffer.adapters.mysql.database import Database
from sniffer.core.errors import SettingsError, SnifferError
from sniffer.core.metrics import (
    BROKEN_SCANS,
    DRIFT_ALARM,
    DRIFT_P_VALUE,
    FLAGGED_SHARE_OF_NIGHT,
    HELD_SCANS,
    STATE_READ,
    TABLE_BYTES,
    Giver,
    Metrics,
)
from sniffer.core.parser import Parser
from sniffer.core.program import Program
from sniffer.core.recall_records import DriftTest
from sniffer.core.recall_words import FLAGGED_SHARE
from sniffer.core.settings import database_settings
from sniffer.core.variables import METRICS_PORT
from sniffer.scan.metrics_flags import METRICS_ENVIRONMENT, add_metrics_flags, asked_metrics

log = logging.getLogger(__name__)

LOOK_S = 30.0
"""From one look at MySQL to the next."""


def show_state(metrics: Metrics, database: Database) -> None:
    """Read the state, and show it. Raises what reading raises; what was shown stays then, with the time of its look."""
    state = database.state.read()
    metrics.set(HELD_SCANS, state.held)
    metrics.set(BROKEN_SCANS, state.broken)
    for name, size_bytes in state.table_bytes.items():
        metrics.set(TABLE_BYTES, size_bytes, table=name)
    _show_drift(metrics, state.drift)
    metrics.stamp(STATE_READ)


def _show_drift(metrics: Metrics, drift: tuple[DriftTest, ...]) -> None:
    """What a bucket has too few nights for is no number."""
    shares: dict[tuple[str, ...], float] = {}
    p_values: dict[tuple[str, ...], float] = {}
    alarms: dict[tuple[str, ...], float] = {}
    for one in drift:
        place = (one.bucket, one.kind.replace(" ", "_"))
        alarms[place] = float(one.is_alarm)
        if one.p_value is not None:
            p_values[place] = one.p_value
        if one.kind == FLAGGED_SHARE:
            shares[one.bucket, "newest"] = one.value
            if one.usual is not None:
                shares[one.bucket, "past"] = one.usual
    metrics.set_only(FLAGGED_SHARE_OF_NIGHT, shares)
    metrics.set_only(DRIFT_P_VALUE, p_values)
    metrics.set_only(DRIFT_ALARM, alarms)


def watch(metrics: Metrics, database: Database, sleep: Callable[[float], None] = time.sleep) -> None:
    """Show the state again and again. A database that is away is waited for: the page says when it was seen last.

    What was never read is no number: 0 would be that nothing waits for anybody.
    """
    said = ""
    for metric in (HELD_SCANS, BROKEN_SCANS):
        metrics.set(metric, math.nan)
    while True:
        try:
            show_state(metrics, database)
            said = ""
        except SnifferError as error:
            if str(error) != said:
                log.warning("the state is not known: %s", error)
            said = str(error)
        sleep(LOOK_S)


def _run(arguments: argparse.Namespace) -> int:
    settings = asked_metrics(arguments)
    if settings is None:
        raise SettingsError(f"--metrics-port is missing: where to serve the figures (or set {METRICS_PORT.name})")
    # Nobody waits for its answer: it asks again.
    patience = dataclasses.replace(database_settings(), patience_s=0)
    with open_metrics(Giver.STATE, settings, None, {}) as metrics, Database(patience) as database:
        watch(metrics, database)
    return 0


def _add_arguments(parser: Parser) -> None:
    add_metrics_flags(parser)


PROGRAM = Program(
    command="sniffer state-metrics",
    summary="Serve what is stored to Prometheus, until it is ended: scans that are held, certificates that do not "
    "hold, buckets whose newest night is unlike the past, and how large the tables are. A scan's own figures end with "
    "it; these stay until a person has acted. One is enough for a database; its user needs the role `sniffer_reader`.",
    run=_run,
    add_arguments=_add_arguments,
    examples=("sniffer state-metrics --metrics-port 9465",),
    environment=("SNIFFER_DATABASE_URL", *METRICS_ENVIRONMENT[:2], "SNIFFER_METRICS_TARGETS", "SNIFFER_LOG_FORMAT"),
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
