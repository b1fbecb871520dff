"""Opens the traces of one program, where OTEL_TRACES_EXPORTER asks for them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sniffer.core.errors import SettingsError
from sniffer.core.metrics import Metrics

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

log = logging.getLogger(__name__)

_LAST_SPANS_S = 2.0
"""How long a program that ends waits for the collector; `sniffer scan` grants its consumers hardly more."""


@contextmanager
def open_traces(metrics: Metrics, program: str, *, wanted: bool) -> Iterator[Metrics]:
    """The metrics, of which each stage is a span as well while the block runs; as they are when no traces are wanted.

    Where they go is what OpenTelemetry's own variables say (OTEL_EXPORTER_OTLP_ENDPOINT and others). Raises
    SettingsError when its packages are not installed.
    """
    if not wanted:
        yield metrics
        return
    # An import that costs 0.3 s, and a package that not everybody has.
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SettingsError(
            f"OTEL_TRACES_EXPORTER is set, but {error.name} is not installed: pip install 'sniffer-bot[otel]', or "
            "unset the variable"
        ) from error
    from sniffer.adapters.tracing.spans import TracedMetrics

    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go first.
    resource = Resource.create({"service.name": f"sniffer-{program}"}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield TracedMetrics(metrics, provider.get_tracer("sniffer"))
    finally:
        _end(provider)


def _end(provider: TracerProvider) -> None:
    """Send the last spans, if the collector takes them soon: it must not hold a program up."""
    sending = threading.Thread(target=provider.shutdown, name="traces", daemon=True)
    sending.start()
    sending.join(_LAST_SPANS_S)
    if sending.is_alive():
        log.warning("the last spans are lost: their collector does not answer")
