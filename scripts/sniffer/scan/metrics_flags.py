"""The flags that ask for metrics, the same for scan, produce and consume."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from sniffer.adapters.metrics.opening import open_metrics
from sniffer.adapters.tracing.opening import open_traces
from sniffer.core.flags import render_flags
from sniffer.core.metrics import Giver, Metrics
from sniffer.core.parser import count
from sniffer.core.settings import METRICS_PORT_MAX, MetricsSettings, metrics_settings, wants_traces
from sniffer.scan.request import moment

METRICS_ENVIRONMENT = (
    "SNIFFER_METRICS_PORT",
    "SNIFFER_METRICS_HOST",
    "SNIFFER_METRICS_LINGER_S",
    "SNIFFER_METRICS_TARGETS",
    "OTEL_TRACES_EXPORTER",
    "OTEL_*",
)


def add_metrics_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say where the metrics are served."""
    group = parser.add_argument_group("metrics for Prometheus")
    group.add_argument(
        "--metrics-port",
        type=_port,
        metavar="N",
        help="serve them there, 0 for a free port, which the log names (default: SNIFFER_METRICS_PORT, else none)",
    )
    group.add_argument(
        "--metrics-host",
        metavar="ADDRESS",
        help="listen on this address, 0.0.0.0 in a pod (default: SNIFFER_METRICS_HOST, else 127.0.0.1)",
    )


def add_next_due(parser: argparse.ArgumentParser) -> None:
    """Add the flag by which Airflow's schedule lets a scan tell when the next one is missing."""
    parser.add_argument("--next-due", type=moment, metavar="TIME", help=argparse.SUPPRESS)


def add_metrics_folder(parser: argparse.ArgumentParser) -> None:
    """Add the flag by which `sniffer scan` gathers the figures of its processes in a folder."""
    parser.add_argument("--metrics-folder", type=Path, help=argparse.SUPPRESS)


def asked_metrics(arguments: argparse.Namespace) -> MetricsSettings | None:
    """Where flags and environment want metrics to be served, if anywhere."""
    return metrics_settings(arguments.metrics_port, arguments.metrics_host)


@contextmanager
def opened_metrics(arguments: argparse.Namespace, giver: Giver) -> Iterator[Metrics]:
    """The metrics of the producer or of a consumer, with traces if they are wanted.

    A consumer of `sniffer scan` leaves serving to the producer; its spans it sends itself.
    """
    folder: Path | None = arguments.metrics_folder
    serves = folder is None or giver is Giver.PRODUCER
    written = {"temporary": Path(tempfile.gettempdir())}
    if result := getattr(arguments, "result", None):
        written["result"] = Path(result).absolute().parent
    settings = asked_metrics(arguments) if serves else None
    with (
        open_metrics(giver, settings, folder, written) as metrics,
        open_traces(metrics, giver, wanted=wants_traces()) as traced,
    ):
        yield traced


def metrics_argv(settings: MetricsSettings, folder: Path, next_due: datetime | None) -> list[str]:
    """The flags by which the producer of a scan serves the figures that all its processes keep in the folder."""
    return render_flags(
        {
            "metrics_port": settings.port,
            "metrics_host": settings.host,
            "metrics_folder": folder,
            "next_due": next_due and next_due.isoformat(),
        }
    )


def _port(text: str) -> int:
    number = count(text)
    if number > METRICS_PORT_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: 0 to {METRICS_PORT_MAX}")
    return number
