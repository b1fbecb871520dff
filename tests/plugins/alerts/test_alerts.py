"""Alerts by webhook and e-mail: what is sent, to whom, and what happens when one way is closed. Real servers."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import pytest
from support.alert_receivers import SECRET_PATH, Webhook, receivers
from support.dripping_server import DrippingServer
from support.full_server import FullServer
from support.smtp_server import MailServer

from sniffer.core.errors import SettingsError
from sniffer_airflow.alerts import channels
from sniffer_airflow.alerts.channels import AlertSettings, read_alert_settings, send
from sniffer_airflow.alerts.message import AlertMessage

SENDER = json.dumps({"from_email": "sniffer@example.com"})
MESSAGE = AlertMessage(
    "scan_uploads",
    "manual__<b>1</b>\nx",
    "a task has failed, scan was the last",
    "http://airflow/dags/x?a=1&b=2",
    "pics",
)


@pytest.fixture
def told(airflow_database: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Webhook, MailServer]]:
    with receivers(monkeypatch) as both:
        yield both


def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_both_ways_are_told_which_run_of_what_bucket_and_why(
    told: tuple[Webhook, MailServer], caplog: pytest.LogCaptureFixture
) -> None:
    webhook, mail = told
    read_alert_settings()
    with caplog.at_level("DEBUG"):
        send(MESSAGE)
    (document,) = webhook.documents()
    assert webhook.got[0].path == f"/{SECRET_PATH}"
    assert set(document) == {"text", "dag_id", "run_id", "reason", "url", "bucket"}
    assert document["dag_id"] == "scan_uploads" and document["bucket"] == "pics" and "\n" not in document["text"]
    ((to, letter),) = mail.kept
    assert to == ("oncall@example.com", "lead@example.com") and letter["From"] == "sniffer@example.com"
    assert letter["Subject"] == "sniffer-bot: scan_uploads: a task has failed, scan was the last"
    body = letter.get_body(("html",))
    assert body is not None
    text = body.get_content()
    assert (
        "bucket: pics" in text and "&lt;b&gt;" in text and "<b>" not in text and 'href="http://airflow/dags/x?' in text
    )
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("sniffer_airflow")]
    assert ours[0] == MESSAGE.text() and not [line for line in ours if "secret" in line]


def test_a_closed_way_keeps_no_other_from_it_and_tells_no_secret(
    told: tuple[Webhook, MailServer], caplog: pytest.LogCaptureFixture
) -> None:
    webhook, mail = told
    webhook.status = 500
    send(MESSAGE)
    assert len(mail.kept) == 1
    assert "no webhook could be sent: " in caplog.text and SECRET_PATH not in caplog.text


def test_a_webhook_that_cannot_be_reached_tells_no_secret_either(
    told: tuple[Webhook, MailServer],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    nobody = {"conn_type": "http", "host": f"http://127.0.0.1:{closed_port()}", "password": SECRET_PATH}
    monkeypatch.setenv("AIRFLOW_CONN_SNIFFER_WEBHOOK", json.dumps(nobody))
    send(MESSAGE)
    assert "no webhook could be sent: ConnectionError" in caplog.text
    printed = capfd.readouterr()
    assert SECRET_PATH not in caplog.text + printed.out + printed.err
    assert len(told[1].kept) == 1


def test_a_mail_server_that_hangs_is_not_waited_for(
    told: tuple[Webhook, MailServer], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The DAG processor ends whatever takes it 50 s; the provider's own patience is three minutes."""
    monkeypatch.setattr(channels, "_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        extra = json.dumps({"disable_ssl": True, "disable_tls": True, "from_email": "sniffer@example.com"})
        smtp = {"conn_type": "smtp", "host": "127.0.0.1", "port": silent.getsockname()[1], "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(smtp))
        began_at = time.monotonic()
        send(MESSAGE)
        assert time.monotonic() - began_at < 10
    assert "no e-mail could be sent: " in caplog.text and len(told[0].documents()) == 1


@pytest.mark.parametrize("more", [{"disable_ssl": True, "disable_tls": True}, {}], ids=["plain", "tls"])
def test_no_server_that_drips_holds_a_task(
    more: dict[str, bool],
    told: tuple[Webhook, MailServer],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each piece comes in time; only the whole does not."""
    monkeypatch.setattr(channels, "CALL_S", 0.3)
    greeting = (b"", b"220-wait\r\n") if more else (b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb", b"\x00")
    with DrippingServer(b"HTTP/1.1 200 OK\r\n", b"X-A: 1\r\n") as web, DrippingServer(*greeting) as mail:
        hook = {"conn_type": "http", "host": f"http://127.0.0.1:{web.port}", "password": SECRET_PATH}
        extra = json.dumps({"from_email": "sniffer@example.com", **more})
        smtp = {"conn_type": "smtp", "host": "127.0.0.1", "port": mail.port, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_SNIFFER_WEBHOOK", json.dumps(hook))
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(smtp))
        began_at = time.monotonic()
        send(MESSAGE)
        assert time.monotonic() - began_at < 10
        assert web.left.wait(5) and mail.left.wait(5), "nothing is left of the connections"
    assert "no webhook could be sent: Timeout" in caplog.text and "no e-mail could be sent: " in caplog.text
    assert SECRET_PATH not in caplog.text


def test_no_firewall_that_drops_what_goes_to_many_addresses_holds_a_task(
    told: tuple[Webhook, MailServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "CALL_S", 0.3)
    monkeypatch.setattr(channels, "_TIMEOUT_S", 0.2)
    with FullServer() as server:
        hook = {"conn_type": "http", "host": f"http://chat.example:{server.port}", "password": SECRET_PATH}
        smtp = {"conn_type": "smtp", "host": "mail.example", "port": server.port, "extra": SENDER}
        monkeypatch.setenv("AIRFLOW_CONN_SNIFFER_WEBHOOK", json.dumps(hook))
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(smtp))
        asked = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))] * 20
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: asked)
        began_at = time.monotonic()
        send(MESSAGE)
        assert time.monotonic() - began_at < 3


def test_a_redirection_is_no_webhook_that_was_told(
    told: tuple[Webhook, MailServer], caplog: pytest.LogCaptureFixture
) -> None:
    told[0].status, told[0].headers = 302, [("Location", "/elsewhere")]
    send(MESSAGE)
    assert "answers with a redirection (302)" in caplog.text and len(told[0].got) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the Variable sniffer_alerts is not JSON"),
        ('{"mail": ["a@b.c"]}', "the Variable sniffer_alerts has no field mail"),
        ('{"email": "a@b.c"}', "email in the Variable sniffer_alerts must be"),
        ('{"email": ["a@b.c", "b"]}', "must be addresses such as oncall@example.com, not 'b'"),
        ('{"webhook_connection": "https://hooks/x"}', "must be a name of an Airflow Connection"),
    ],
)
def test_a_wrong_variable_is_named(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        AlertSettings.parse(text)


@pytest.mark.parametrize(
    ("connection", "message"),
    [(None, "sniffer_webhook, which is missing"), ("smtp://x", "sniffer_webhook must be of type http, not 'smtp'")],
)
def test_a_wrong_connection_is_known_beforehand_and_stops_no_e_mail(
    told: tuple[Webhook, MailServer],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    connection: str | None,
    message: str,
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SNIFFER_WEBHOOK")
    if connection:
        monkeypatch.setenv("AIRFLOW_CONN_SNIFFER_WEBHOOK", connection)
    with pytest.raises(SettingsError, match=message):
        read_alert_settings()
    send(MESSAGE)
    assert message in caplog.text and len(told[1].kept) == 1


def test_without_the_variable_the_log_is_told(airflow_database: None, caplog: pytest.LogCaptureFixture) -> None:
    send(MESSAGE)
    assert [record.getMessage() for record in caplog.records if record.name.startswith("sniffer_airflow")] == [
        MESSAGE.text()
    ]
