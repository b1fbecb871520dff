"""A real HTTP server on the loopback that answers as a test wants it to."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass(frozen=True)
class HttpRequest:
    """What a client sent; `path` with the query. `peer` tells its connections apart."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    peer: tuple[str, int] = ("", 0)


@dataclass(frozen=True)
class HttpAnswer:
    """What it gets; Content-Length is added. After another `content_length` than the body's the connection ends."""

    status: int
    body: bytes
    headers: Iterable[tuple[str, str]] = ()
    content_length: int | None = None


class HttpServer:
    """Serves as long as it is entered, each request in a thread of its own. Subclasses answer."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def respond(self, request: HttpRequest) -> HttpAnswer:
        """The answer; called in the request's thread."""
        raise NotImplementedError

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer = server.respond(
                    HttpRequest(self.command, self.path, dict(self.headers), body, self.client_address)
                )
                self.send_response(answer.status)
                for name, value in answer.headers:
                    self.send_header(name, value)
                length = len(answer.body) if answer.content_length is None else answer.content_length
                self.send_header("Content-Length", str(length))
                self.close_connection = length != len(answer.body)
                self.end_headers()
                self.wfile.write(answer.body)

            do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        return Handler
