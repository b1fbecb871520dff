"""Traces of a scan: real OTLP over HTTP to a collector's stand-in, which reads it by OpenTelemetry's own messages."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from support.black_hole import BlackHole
from support.collector import Collector
from support.fleet import Fleet, jpeg

from sniffer.adapters.metrics.meters import PrometheusMetrics, registry_over
from sniffer.adapters.tracing.opening import open_traces
from sniffer.core.errors import SettingsError
from sniffer.core.metrics import NO_METRICS, STAGE_SECONDS, Giver
from sniffer.core.settings import wants_traces


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        yield collector


def test_a_batch_is_a_span_with_its_stages_and_a_failed_one_names_no_key(collector: Collector) -> None:
    registry = registry_over(None)
    metrics = PrometheusMetrics(Giver.CONSUMER, registry)
    with open_traces(metrics, "consume", wanted=True) as traced:
        traced.of_scan("scan-1")
        with traced.batch(3), traced.timed(STAGE_SECONDS, stage="decode"):
            pass
        with pytest.raises(OSError), traced.timed(STAGE_SECONDS, stage="write"):
            raise OSError("users/4711/secret.jpg")
    spans = {span.name: span for span in collector.spans()}
    assert set(spans) == {"batch", "decode", "write"} and b"secret" not in collector.bodies()
    assert spans["decode"].parent_span_id == spans["batch"].span_id and not spans["write"].parent_span_id
    assert spans["write"].status.code == 2 and spans["write"].status.message == "OSError" and not spans["write"].events
    assert {collector.attributes(span)["sniffer.scan_id"] for span in spans.values()} == {"scan-1"}
    assert collector.attributes(spans["batch"])["sniffer.images"] == 3
    assert collector.services() == {"sniffer-consume"}
    # The figures are what they are without traces.
    assert registry.get_sample_value("sniffer_stage_seconds_count", {"stage": "decode"}) == 1


def test_the_service_may_be_called_otherwise(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "nightly")
    with open_traces(NO_METRICS, "produce", wanted=True) as traced, traced.timed(STAGE_SECONDS, stage="list"):
        pass
    assert collector.services() == {"nightly"}


def test_a_collector_that_hangs_holds_no_program_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with BlackHole() as hole:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{hole.port}")
        began_at = time.monotonic()
        with open_traces(NO_METRICS, "produce", wanted=True) as traced, traced.timed(STAGE_SECONDS, stage="list"):
            pass
        assert time.monotonic() - began_at < 8
    assert "the last spans are lost" in caplog.text


def test_traces_are_off_unless_asked_for_and_cost_no_import() -> None:
    assert not wants_traces({}) and not wants_traces({"OTEL_TRACES_EXPORTER": "none"})
    assert wants_traces({"OTEL_TRACES_EXPORTER": "otlp"})
    with pytest.raises(SettingsError, match="OTEL_TRACES_EXPORTER must be otlp or none, not 'console'"):
        wants_traces({"OTEL_TRACES_EXPORTER": "console"})
    with open_traces(NO_METRICS, "produce", wanted=False) as metrics:
        assert metrics is NO_METRICS
    code = "import sniffer.scan.produce, sniffer.scan.consume, sys; sys.exit('opentelemetry' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with (
        pytest.raises(SettingsError, match=r"pip install 'sniffer-bot\[otel\]'"),
        open_traces(NO_METRICS, "x", wanted=True),
    ):
        pass


@pytest.mark.slow
def test_a_whole_scan_sends_the_spans_of_its_producer_and_consumers(fleet: Fleet, collector: Collector) -> None:
    for number in range(5):
        fleet.put(f"users/{number}.jpg", jpeg(number))
    traces = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    with fleet.start("--consumers=1", "--scan-id=traced", **traces) as program:
        assert program.wait() == 0, program.text()
    names: dict[str, list[Span]] = {}
    for span in collector.spans():
        names.setdefault(span.name, []).append(span)
    assert set(names) == {"list", "fetch", "batch", "decode", "predict", "write"}
    assert len(names["fetch"]) == len(names["decode"]) == 5
    assert {collector.attributes(span)["sniffer.scan_id"] for each in names.values() for span in each} == {"traced"}
    assert collector.services() == {"sniffer-produce", "sniffer-consume"} and b"users/" not in collector.bodies()
