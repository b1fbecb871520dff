"""Figures that are spans as well: a batch with its stages, and the stages of the producer. Never a key or a body."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.trace import Span, Status, StatusCode, Tracer

from sniffer.core.metrics import Metric, Metrics

SCAN_ID = "sniffer.scan_id"


class TracedMetrics(Metrics):
    """Hands every figure on to `metrics`; what is timed as a stage, and each batch, is a span besides."""

    def __init__(self, metrics: Metrics, tracer: Tracer) -> None:
        self._metrics = metrics
        self._tracer = tracer
        self._scan_id = ""

    def add(self, metric: Metric, amount: float = 1.0, **labels: str) -> None:
        self._metrics.add(metric, amount, **labels)

    def raise_to(self, metric: Metric, total: float, **labels: str) -> None:
        self._metrics.raise_to(metric, total, **labels)

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        self._metrics.set(metric, value, **labels)

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        self._metrics.observe(metric, value, **labels)

    def stamp(self, metric: Metric) -> None:
        self._metrics.stamp(metric)

    def conclude(self) -> None:
        self._metrics.conclude()

    def linger(self) -> None:
        self._metrics.linger()

    def stop_lingering(self) -> None:
        self._metrics.stop_lingering()

    def of_scan(self, scan_id: str) -> None:
        self._scan_id = scan_id
        self._metrics.of_scan(scan_id)

    @contextmanager
    def timed(self, metric: Metric, **labels: str) -> Iterator[None]:
        with self._metrics.timed(metric, **labels), self._span(labels.get("stage", metric.name)):
            yield

    @contextmanager
    def batch(self, images: int) -> Iterator[None]:
        with self._metrics.batch(images), self._span("batch") as span:
            span.set_attribute("sniffer.images", images)
            yield

    @contextmanager
    def _span(self, name: str) -> Iterator[Span]:
        with self._tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
            span.set_attribute(SCAN_ID, self._scan_id)
            try:
                yield span
            except BaseException as error:
                # Its class alone: a message may name a key.
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise
