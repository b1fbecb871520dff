"""Opens the figures of one program: served over HTTP, added to those of a scan, or none at all."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sniffer.adapters.metrics.disk import show_disk
from sniffer.adapters.metrics.targets import announced
from sniffer.core.metrics import NO_METRICS, Giver, Metrics
from sniffer.core.settings import MetricsSettings

log = logging.getLogger(__name__)

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def open_metrics(
    giver: Giver, settings: MetricsSettings | None, folder: Path | None, written: Mapping[str, Path]
) -> Iterator[Metrics]:
    """The figures of this process, served as the settings say while the block runs; without settings they are not.

    With a `folder` they are kept there, in files that all processes of a scan share, and whoever serves gives the sum,
    and how much room there is in the folders `written` to, by their labels.
    Without both nothing is kept. Raises SettingsError when the address cannot be had.
    """
    if settings is None and folder is None:
        yield NO_METRICS
        return
    # prometheus_client reads the variable while it is imported, so that comes after it; and its import costs a scan
    # without metrics nothing. Whatever somebody else's process was told by it is not for us.
    os.environ.pop(_FOLDER, None)
    if folder is not None:
        os.environ[_FOLDER] = str(folder)
    from sniffer.adapters.metrics.meters import PrometheusMetrics, registry_over
    from sniffer.adapters.metrics.page import LastReading, served

    registry = registry_over(folder)
    reading = LastReading(settings.linger_s) if settings is not None else None
    metrics = PrometheusMetrics(giver, None if folder is not None else registry, reading)
    if settings is None or reading is None:
        yield metrics
        return
    with served(registry, settings, reading, partial(show_disk, metrics, written)) as port:
        log.info("metrics at http://%s:%d/metrics", settings.host, port)
        with announced(settings.targets, settings.host, port):
            yield metrics
