"""Where alerts go: the Variable `sniffer_alerts`, checked, and Airflow's own notifiers for webhook and e-mail.

Secrets are in Connections. Providers are loaded when there is something to send: each DAG file's parsing would pay.
"""

from __future__ import annotations

import logging
import re
import smtplib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from airflow.sdk import Connection, Param
from airflow.sdk.exceptions import AirflowNotFoundException

from sniffer.adapters.http import BoundedAdapter
from sniffer.core.errors import SettingsError
from sniffer.core.socket_deadline import SocketDeadline
from sniffer_airflow.alerts.message import AlertMessage
from sniffer_airflow.forms.fields import lines_field, text_field, text_rule
from sniffer_airflow.forms.variables import checked_json, in_words, read_variable
from sniffer_airflow.names import ALERTS_VARIABLE, SMTP_CONNECTION

EXAMPLE = '{"email": ["oncall@example.com"], "webhook_connection": "sniffer_webhook"}'
_TIMEOUT_S: Any = 10
CALL_S = 20.0
"""For all that is said with one server, whose pieces may be many. Both ways together end before the DAG processor ends
them, after 50 s."""
_RETRIES: Any = 1
"""Of a mail server that ends the connection, or says nothing for as long."""
_ADDRESS = re.compile(r"[^@\s,;<>]{1,64}@[A-Za-z0-9][A-Za-z0-9.-]{0,253}")
_CONNECTION = text_rule("name of an Airflow Connection", lambda text: bool(re.fullmatch(r"[\w.-]{1,250}", text)))

FIELDS: Mapping[str, Param] = {
    "email": lines_field("", ""),
    "email_connection": text_field("", "", rule=_CONNECTION),
    "webhook_connection": text_field("", "", rule=_CONNECTION),
}

log = logging.getLogger(__name__)

_SILENT: Any = logging.Logger("silent", logging.CRITICAL + 1)


@dataclass(frozen=True)
class AlertSettings:
    """To whom alerts go; to nobody where both are empty, but for the log."""

    email: tuple[str, ...] = ()
    email_connection: str = SMTP_CONNECTION
    webhook_connection: str = ""

    @classmethod
    def parse(cls, text: str) -> AlertSettings:
        """Read the Variable; SettingsError names it, the field and what belongs there."""
        values = checked_json(text, ALERTS_VARIABLE, FIELDS, EXAMPLE)
        email = values.lines("email")
        if wrong := [address for address in email if not _ADDRESS.fullmatch(address)]:
            raise SettingsError(
                f"email in {in_words(ALERTS_VARIABLE)} must be addresses such as oncall@example.com, not {wrong[0]!r}"
            )
        return cls(email, values.text("email_connection") or SMTP_CONNECTION, values.text("webhook_connection") or "")


def read_alert_settings() -> AlertSettings:
    """The Variable's settings, whose Connections are there; SettingsError says what is wrong."""
    settings = AlertSettings.parse(read_variable(ALERTS_VARIABLE))
    if settings.email:
        _connection(settings.email_connection, "smtp")
    if settings.webhook_connection:
        _connection(settings.webhook_connection, "http")
    return settings


def send(message: AlertMessage) -> None:
    """Log the message, and send it by each way that is set. One that fails is logged, and keeps no other from it."""
    log.error("%s", message.text())
    try:
        settings = AlertSettings.parse(read_variable(ALERTS_VARIABLE))
    except SettingsError as error:
        log.error("nobody can be told: %s", error)
        return
    if settings.webhook_connection:
        _try("webhook", lambda: _post(settings.webhook_connection, message))
    if settings.email:
        _try("e-mail", lambda: _mail(settings, message))


def _try(way: str, attempt: Callable[[], None]) -> None:
    try:
        attempt()
    except SettingsError as error:
        log.error("no %s could be sent: %s", way, error)
    except Exception as error:  # noqa: BLE001 - providers raise whatever their clients do
        # Its text is left out: an address of a webhook is a secret.
        log.error("no %s could be sent: %s", way, type(error).__name__)
    else:
        log.info("a %s was sent", way)


def _post(conn_id: str, message: AlertMessage) -> None:
    from airflow.providers.http.hooks.http import HttpHook
    from airflow.providers.http.notifications.http import HttpNotifier

    class QuietHook(HttpHook):
        """Its own log has the whole address of a server that is away, and what one answers that refuses."""

        log = _SILENT

        def get_conn(self, *args: Any, **kwargs: Any) -> Any:
            session = super().get_conn(*args, **kwargs)
            for scheme in ("http://", "https://"):
                session.mount(scheme, BoundedAdapter(CALL_S))
            return session

        def check_response(self, response: Any) -> None:
            # Followed, a POST would become a GET, which tells nobody anything.
            if response.is_redirect:
                raise SettingsError(
                    f"the webhook answers with a redirection ({response.status_code}): the Connection {conn_id} needs "
                    "the address that it leads to"
                )
            super().check_response(response)

    class QuietNotifier(HttpNotifier):
        @cached_property
        def hook(self) -> HttpHook:
            return QuietHook(method=self.method, http_conn_id=self.http_conn_id)

    connection = _connection(conn_id, "http")
    QuietNotifier(
        http_conn_id=conn_id,
        # A path that is a secret, as that of a chat's webhook, is kept as the password, which Airflow shows nobody.
        endpoint=connection.password if not connection.login else None,
        json=message.document(),
        extra_options={"timeout": _TIMEOUT_S, "allow_redirects": False},
    ).notify({})


def _mail(settings: AlertSettings, message: AlertMessage) -> None:
    from airflow.providers.smtp.hooks.smtp import SmtpHook
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    deadline = SocketDeadline(CALL_S)

    class WatchedMail(smtplib.SMTP):
        def _get_socket(self, host: Any, port: Any, timeout: Any) -> Any:
            limit_s = deadline.attempt_s(host, port, timeout)
            sock = super()._get_socket(host, port, limit_s)  # type: ignore[misc]
            sock.settimeout(timeout)
            deadline.watch(sock)
            return sock

    class WatchedMailTls(smtplib.SMTP_SSL, WatchedMail):
        """Watched before its handshake."""

    class ImpatientHook(SmtpHook):
        """Ends before the DAG processor ends it, which would say nothing: its own patience is minutes."""

        timeout = _TIMEOUT_S
        smtp_retry_limit = _RETRIES

        def _build_client(self) -> smtplib.SMTP | smtplib.SMTP_SSL:
            return (WatchedMailTls if self.use_ssl else WatchedMail)(**self._build_client_kwargs(is_async=False))

    class ImpatientNotifier(SmtpNotifier):
        @cached_property
        def hook(self) -> SmtpHook:
            return ImpatientHook(smtp_conn_id=self.smtp_conn_id, auth_type=self.auth_type)

    connection = _connection(settings.email_connection, "smtp")
    sender = connection.extra_dejson.get("from_email")
    if not sender:
        raise SettingsError(f'the Connection {settings.email_connection} needs {{"from_email": "…"}} in its extra')
    notifier = ImpatientNotifier(
        to=list(settings.email),
        from_email=sender,
        subject=message.subject,
        html_content=message.html(),
        smtp_conn_id=settings.email_connection,
    )
    with deadline:
        notifier.notify({})


def _connection(conn_id: str, kind: str) -> Connection:
    try:
        connection: Connection = Connection.get(conn_id)
    except AirflowNotFoundException:
        raise SettingsError(
            f"{in_words(ALERTS_VARIABLE)} names the Connection {conn_id}, which is missing: create it, of type {kind}, "
            "under Admin > Connections"
        ) from None
    if connection.conn_type not in (kind, f"{kind}s"):
        raise SettingsError(f"the Connection {conn_id} must be of type {kind}, not {connection.conn_type!r}")
    return connection
