"""A model server's answers about its versions, without a model."""

from __future__ import annotations

import json

from support.http_server import HttpAnswer, HttpRequest, HttpServer


class StatusServer(HttpServer):
    """A model server that serves version 1."""

    def respond(self, request: HttpRequest) -> HttpAnswer:
        status = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        body = json.dumps({"model_version_status": [status]}).encode()
        return HttpAnswer(200, body, [("Content-Type", "application/json")])
