"""The few endpoints of Airflow 3's REST API that `sniffer doctor` asks, over real HTTP, with a login."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from support.http_server import HttpAnswer, HttpRequest, HttpServer

TOKEN = "a-token"


class AirflowStandIn(HttpServer):
    """What it has, and who may ask."""

    def __init__(self) -> None:
        super().__init__()
        self.connections: set[str] = set()
        self.variables: set[str] = set()
        self.health: dict[str, str | None] = {"metadatabase": "healthy", "scheduler": "healthy"}
        self.broken_files: list[str] = []
        self.user, self.password = "admin", "p@ss/word"
        self.role_is_enough = True
        self.is_broken = False

    @property
    def place(self) -> str:
        return self.url.removeprefix("http://")

    def respond(self, request: HttpRequest) -> HttpAnswer:
        body = json.loads(request.body) if request.body else None
        token = request.headers.get("Authorization", "")
        status, document = self.answer(request.method, request.path, token, body)
        return HttpAnswer(status, json.dumps(document).encode(), [("Content-Type", "application/json")])

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
        if self.is_broken:
            return 500, {"detail": "Internal Server Error"}
        there = {"connections": self.connections, "variables": self.variables}[kind]
        return (200, {"key": name}) if unquote(name) in there else (404, {"detail": "not found"})
