"""A webhook and a mail server on the loopback, with the Variable and the Connections that lead to them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from support.http_server import HttpAnswer, HttpRequest, HttpServer
from support.smtp_server import MailServer

SECRET_PATH = "services/T1/secret-token"


class Webhook(HttpServer):
    """Keeps what is posted; answers with `status`."""

    def __init__(self) -> None:
        super().__init__()
        self.status = 200
        self.headers: list[tuple[str, str]] = []
        self.got: list[HttpRequest] = []

    def respond(self, request: HttpRequest) -> HttpAnswer:
        self.got.append(request)
        return HttpAnswer(self.status, b"ok", self.headers)

    def documents(self) -> list[Any]:
        return [json.loads(request.body) for request in self.got]


@contextmanager
def receivers(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Webhook, MailServer]]:
    """Both, and Airflow set to tell them."""
    with Webhook() as webhook, MailServer() as mail:
        hook = {"conn_type": "http", "host": webhook.url, "password": SECRET_PATH}
        extra = {"disable_ssl": True, "disable_tls": True, "from_email": "sniffer@example.com", "retry_limit": 1}
        smtp = {"conn_type": "smtp", "host": "127.0.0.1", "port": mail.port, "extra": json.dumps(extra)}
        monkeypatch.setenv("AIRFLOW_CONN_SNIFFER_WEBHOOK", json.dumps(hook))
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(smtp))
        asked = {"email": ["oncall@example.com", "lead@example.com"], "webhook_connection": "sniffer_webhook"}
        monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_ALERTS", json.dumps(asked))
        yield webhook, mail
