"""A real HTTP proxy before the S3 server that can be told to misbehave: for a while, or for one request."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, urlsplit

SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)
DENIED = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'
)


class FlakyS3:
    """Forwards to `upstream`; `refuse` may answer (status, body) instead, `after_listing` runs once a page was read."""

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream).netloc
        self.refuse: Callable[[str, str], tuple[int, bytes] | None] = lambda _method, _path: None
        self.after_listing: Callable[[], None] = lambda: None
        self.latency_s = 0.0
        self.gets: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.endpoint_url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def away_for(self, seconds: float) -> None:
        """Answer 503 SlowDown to everything for so long, from now."""
        until = time.monotonic() + seconds
        self.refuse = lambda _method, _path: (503, SLOW_DOWN) if time.monotonic() < until else None

    def forward(
        self, method: str, path: str, headers: dict[str, str], body: bytes = b""
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """One request to the real server."""
        refusal = self.refuse(method, path)
        if refusal is not None:
            return refusal[0], [("Content-Type", "application/xml")], refusal[1]
        connection = http.client.HTTPConnection(self._upstream, timeout=30)
        connection.request(method, path, body=body or None, headers=headers)
        answer = connection.getresponse()
        found = answer.status, answer.getheaders(), answer.read()
        connection.close()
        if "list-type" in parse_qs(urlsplit(path).query) and "max-keys=1&" not in f"{path}&":
            self.after_listing()
        else:
            self.gets.append(path)
        return found

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                time.sleep(proxy.latency_s)
                sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, headers, body = proxy.forward(self.command, self.path, dict(self.headers), sent)
                self.send_response(status)
                for name, value in headers:
                    if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_HEAD = do_PUT = do_GET

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        return Handler
