"""The figures of core.metrics as objects of prometheus_client."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.multiprocess import MultiProcessCollector

from sniffer.adapters.metrics.page import LastReading
from sniffer.core.metrics import METRICS, AnyName, Giver, Kind, Metric, Metrics

disable_created_metrics()  # type: ignore[no-untyped-call]

Meter = TypeVar("Meter", Counter, Gauge, Histogram)

MOST_PRESET = 20
"""Counters with at most so many label values show each from the start, as 0, so that a first event is an increase."""


class PrometheusMetrics(Metrics):
    """Keeps one program's figures. With `registry` None they are kept in the files of its process only.

    A `reading` is what `linger` waits for.
    """

    def __init__(self, giver: Giver, registry: CollectorRegistry | None, reading: LastReading | None = None) -> None:
        given = [
            metric
            for metric in METRICS
            if metric.giver is giver or (metric.giver is Giver.BOTH and giver is not Giver.STATE)
        ]
        self._reading = reading
        self._counters = {
            metric: _preset(metric, Counter(metric.name, metric.meaning, tuple(metric.labels), registry=registry))
            for metric in given
            if metric.kind is Kind.COUNTER
        }
        self._gauges = {
            metric: Gauge(metric.name, metric.meaning, tuple(metric.labels), registry=registry, multiprocess_mode="sum")
            for metric in given
            if metric.kind is Kind.GAUGE
        }
        self._histograms = {
            metric: _preset(
                metric,
                Histogram(metric.name, metric.meaning, tuple(metric.labels), registry=registry, buckets=metric.buckets),
            )
            for metric in given
            if metric.kind is Kind.HISTOGRAM
        }
        self._totals: dict[tuple[str, ...], float] = defaultdict(float)
        self._shown: dict[Metric, set[tuple[str, ...]]] = defaultdict(set)

    def add(self, metric: Metric, amount: float = 1.0, **labels: str) -> None:
        _child(metric, self._counters[metric], labels).inc(amount)

    def raise_to(self, metric: Metric, total: float, **labels: str) -> None:
        known = (metric.name, *labels.values())
        if total > self._totals[known]:
            self.add(metric, total - self._totals[known], **labels)
            self._totals[known] = total

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        _child(metric, self._gauges[metric], labels).set(value)

    def set_only(self, metric: Metric, values: Mapping[tuple[str, ...], float]) -> None:
        shown = {_bounded(metric, dict(zip(metric.labels, labels, strict=True))): labels for labels in values}
        # Those that are over go after the new ones have come: who reads meanwhile misses none.
        for labels in shown.values():
            self.set(metric, values[labels], **dict(zip(metric.labels, labels, strict=True)))
        for labels in self._shown[metric] - shown.keys():
            self._gauges[metric].remove(*labels)
        self._shown[metric] = set(shown)

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        _child(metric, self._histograms[metric], labels).observe(value)

    def stamp(self, metric: Metric) -> None:
        self._gauges[metric].set(time.time())

    @contextmanager
    def timed(self, metric: Metric, **labels: str) -> Iterator[None]:
        began_at = time.perf_counter()
        try:
            yield
        finally:
            self.observe(metric, time.perf_counter() - began_at, **labels)

    def conclude(self) -> None:
        if self._reading is not None:
            self._reading.concludes()

    def linger(self) -> None:
        if self._reading is not None:
            self._reading.wait()

    def stop_lingering(self) -> None:
        if self._reading is not None:
            self._reading.give_up()


def registry_over(folder: Path | None) -> CollectorRegistry:
    """An empty registry; with a folder, one of the figures of all processes that keep theirs there."""
    registry = CollectorRegistry()
    if folder is not None:
        MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    return registry


def _child(metric: Metric, meter: Meter, labels: dict[str, str]) -> Meter:
    if not metric.labels:
        return meter
    return meter.labels(*_bounded(metric, labels))


def _bounded(metric: Metric, labels: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(metric.bounded(name, labels[name]) for name in metric.labels)


def _preset(metric: Metric, meter: Meter) -> Meter:
    values = [() if isinstance(each, AnyName) else each for each in metric.labels.values()]
    combinations = list(product(*values))
    if metric.labels and len(combinations) <= MOST_PRESET:
        for combination in combinations:
            meter.labels(*combination)
    return meter
