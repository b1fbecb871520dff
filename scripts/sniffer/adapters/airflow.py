"""Airflow's REST API, as far as `sniffer doctor` asks it. It is touched here only.

API: /api/v2 of Airflow 3, with a token that /auth/token gives for a user's name and password.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import quote

import requests

from sniffer.adapters.http import BoundedAdapter
from sniffer.core.errors import SettingsError, TransientError
from sniffer.core.redaction import KNOWN
from sniffer.core.settings import AirflowSettings
from sniffer.core.text import one_line

_TIMEOUT_S = 10.0
"""Of each piece of an answer, and twice that for a whole call."""
_NOT_FOUND = 404
_MOST_REDIRECTS = 3


class AirflowApi:
    """One Airflow, asked once, without patience.

    Raises TransientError when it does not answer, SettingsError when it refuses the user or is no Airflow.
    """

    def __init__(self, settings: AirflowSettings) -> None:
        self._settings = settings
        self._session = requests.Session()
        # A proxy variable meant for the internet must not catch the traffic to our own server.
        self._session.trust_env = False
        self._session.max_redirects = _MOST_REDIRECTS  # each has a call's time
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, BoundedAdapter(2 * _TIMEOUT_S))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    @property
    def place(self) -> str:
        """Its address, without user and password."""
        return self._settings.url

    def health(self) -> dict[str, str]:
        """Its parts, each with its status: `healthy`, or what is wrong. Needs no login."""
        found = self._json(self._send("GET", "/api/v2/monitor/health"))
        # A triggerer or a DAG processor that was never started has no status, or is null.
        return {part: str((state or {}).get("status") or "not running") for part, state in found.items()}

    def import_errors(self) -> list[str]:
        """The DAG files that it cannot import."""
        found = self._json(self._get("/api/v2/importErrors"))
        return [str(error["filename"]) for error in found["import_errors"]]

    def has_connection(self, conn_id: str) -> bool:
        """Whether its database has that Connection; those of the environment are not shown."""
        return self._exists(f"/api/v2/connections/{quote(conn_id, safe='')}")

    def has_variable(self, key: str) -> bool:
        """Whether its database has that Variable; those of the environment are not shown."""
        return self._exists(f"/api/v2/variables/{quote(key, safe='')}")

    def _exists(self, path: str) -> bool:
        answer = self._get(path)
        # Any other refusal says nothing about whether it is there.
        return answer.status_code != _NOT_FOUND and bool(self._json(answer))

    def _get(self, path: str) -> requests.Response:
        if "Authorization" not in self._session.headers:
            self._log_in()
        answer = self._send("GET", path)
        if answer.status_code in (401, 403):
            raise SettingsError(f"the user {self._settings.user} of Airflow may not GET {path}: give it the role Op")
        return answer

    def _log_in(self) -> None:
        KNOWN.learn(self._settings.password)
        credentials = {"username": self._settings.user, "password": self._settings.password}
        answer = self._send("POST", "/auth/token", credentials)
        if answer.status_code in (401, 403):
            raise SettingsError(
                f"Airflow at {self.place} refuses the login of {self._settings.user}: check SNIFFER_AIRFLOW_URL, with "
                "the password percent-encoded"
            )
        token = str(self._json(answer)["access_token"])
        KNOWN.renew("Airflow", token)
        self._session.headers["Authorization"] = f"Bearer {token}"

    def _json(self, answer: requests.Response) -> Mapping[str, Any]:
        try:
            if answer.ok and isinstance(document := answer.json(), dict):
                return document
        except ValueError:
            pass
        raise SettingsError(
            f"{self.place} does not answer like Airflow 3 ({answer.status_code}): check SNIFFER_AIRFLOW_URL"
        )

    def _send(self, method: str, path: str, body: Mapping[str, str] | None = None) -> requests.Response:
        try:
            return self._session.request(method, self.place + path, json=body, timeout=_TIMEOUT_S)
        except requests.RequestException as error:
            raise TransientError(
                f"Airflow at {self.place} does not answer ({one_line(error)}): check that it runs and "
                "SNIFFER_AIRFLOW_URL"
            ) from error
