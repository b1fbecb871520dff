"""A collector of OpenTelemetry spans on the loopback: as much of it as takes OTLP over HTTP and keeps it."""

from __future__ import annotations

import gzip

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from support.http_server import HttpAnswer, HttpRequest, HttpServer


class Collector(HttpServer):
    """Keeps the bodies of all requests to /v1/traces."""

    def __init__(self) -> None:
        super().__init__()
        self._bodies: list[bytes] = []

    def respond(self, request: HttpRequest) -> HttpAnswer:
        headers = {name.lower(): value for name, value in request.headers.items()}
        if request.path != "/v1/traces" or headers["content-type"] != "application/x-protobuf":
            return HttpAnswer(404, b"")
        is_packed = headers.get("content-encoding") == "gzip"
        self._bodies.append(gzip.decompress(request.body) if is_packed else request.body)
        return HttpAnswer(200, ExportTraceServiceResponse().SerializeToString())

    def bodies(self) -> bytes:
        """All that came; of protobuf messages it is the sum."""
        return b"".join(self._bodies)

    def spans(self) -> list[Span]:
        return [
            span
            for resource in ExportTraceServiceRequest.FromString(self.bodies()).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def services(self) -> set[str]:
        """Whose the spans are."""
        return {
            attribute.value.string_value
            for resource in ExportTraceServiceRequest.FromString(self.bodies()).resource_spans
            for attribute in resource.resource.attributes
            if attribute.key == "service.name"
        }

    @staticmethod
    def attributes(span: Span) -> dict[str, str | int]:
        return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}
