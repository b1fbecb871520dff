"""The few endpoints of Airflow 3's REST API that `sniffer doctor` asks, over real HTTP, with a login."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote

TOKEN = "a-token"


@dataclass
class AirflowStandIn:
    """What it has, and who may ask."""

    connections: set[str] = field(default_factory=set)
    variables: set[str] = field(default_factory=set)
    health: dict[str, str | None] = field(default_factory=lambda: {"metadatabase": "healthy", "scheduler": "healthy"})
    broken_files: list[str] = field(default_factory=list)
    user: str = "admin"
    password: str = "p@ss/word"
    role_is_enough: bool = True

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def answer(self, method: str, path: str, token: str, body: Any) -> tuple[int, dict[str, Any]]:
        if path == "/api/v2/monitor/health":
            return 200, {part: {"status": status} for part, status in self.health.items()}
        if (method, path) == ("POST", "/auth/token"):
            right = body == {"username": self.user, "password": self.password}
            return (201, {"access_token": TOKEN}) if right else (401, {"detail": "Invalid credentials"})
        if token != f"Bearer {TOKEN}":
            return 401, {"detail": "Not authenticated"}
        if not self.role_is_enough:
            return 403, {"detail": "Forbidden"}
        kind, name = path.rsplit("/", 2)[1:] if path.count("/") > 3 else (path.rsplit("/", 1)[1], "")
        if kind == "importErrors":
            return 200, {"import_errors": [{"filename": name} for name in self.broken_files], "total_entries": 0}
        there = {"connections": self.connections, "variables": self.variables}[kind]
        return (200, {"key": name}) if unquote(name) in there else (404, {"detail": "not found"})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        airflow = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = json.loads(sent) if sent else None
                status, document = airflow.answer(self.command, self.path, self.headers.get("Authorization", ""), body)
                payload = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        return Handler
