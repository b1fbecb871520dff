"""A real HTTP proxy before the S3 server that can be told to misbehave: for a while, or for one request."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from support.http_server import HttpAnswer, HttpRequest, HttpServer

SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)
DENIED = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'
)
_OF_EACH_CONNECTION = ("content-length", "transfer-encoding", "connection", "date", "server")


class FlakyS3(HttpServer):
    """Forwards to `upstream`; `refuse` may answer (status, body) instead, `after_listing` runs once a page was read."""

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream).netloc
        self.refuse: Callable[[str, str], tuple[int, bytes] | None] = lambda _method, _path: None
        self.after_listing: Callable[[], None] = lambda: None
        self.latency_s = 0.0
        self.gets: list[str] = []
        super().__init__()
        self.endpoint_url = self.url

    def away_for(self, seconds: float) -> None:
        """Answer 503 SlowDown to everything for so long, from now."""
        until = time.monotonic() + seconds
        self.refuse = lambda _method, _path: (503, SLOW_DOWN) if time.monotonic() < until else None

    def respond(self, request: HttpRequest) -> HttpAnswer:
        time.sleep(self.latency_s)
        refusal = self.refuse(request.method, request.path)
        if refusal is not None:
            status, body = refusal
            return HttpAnswer(status, body, [("Content-Type", "application/xml")])
        answer = self._forward(request)
        if "list-type" in parse_qs(urlsplit(request.path).query) and "max-keys=1000&" in f"{request.path}&":
            self.after_listing()
        else:
            self.gets.append(request.path)
        return answer

    def _forward(self, request: HttpRequest) -> HttpAnswer:
        """What the real server says."""
        connection = http.client.HTTPConnection(self._upstream, timeout=30)
        connection.request(request.method, request.path, body=request.body or None, headers=dict(request.headers))
        answer = connection.getresponse()
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in _OF_EACH_CONNECTION]
        found = HttpAnswer(answer.status, answer.read(), headers)
        connection.close()
        return found
